"""Every threshold of selection, in one place."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from taosr_she.base.config import Strict
from taosr_she.model.sampling import Sampling

Share = Annotated[float, Field(ge=0, le=1)]


class DifficultyConfig(Strict):
    """Which pairs are neither too easy nor too hard for a policy, by its own rollouts."""

    rollouts: int = Field(default=8, ge=2)
    """Responses sampled for each pair."""
    sampling: Sampling = Sampling()
    """Length limit and temperature of them."""
    pass_low: float = Field(default=0.05, ge=0, le=1)
    """Least pass rate (share of rollouts with the right label). Below it the policy hardly ever finds the way."""
    pass_high: float = Field(default=0.95, ge=0, le=1)
    """Greatest pass rate. Above it there is hardly anything left to learn from the label."""
    need_signal: bool = False
    """In a band that reaches 0 or 1, drop pairs whose rollouts agree in outcome and in every examined step: such
    a group gives no token any credit. Few rollouts tell that only roughly. Other bands hold no such pair."""
    keep_step_disagreement: bool = True
    """Keep a pair outside the band all the same when its rollouts disagree about some examined step: they then differ
    in a way that step credit can learn from, although the outcome does not."""
    balance: float = Field(default=0.0, ge=0)
    """Largest number of pairs of one label, as a multiple (1 or more) of the rarest label's; 0 is no limit. The pairs
    whose pass rate is nearest to one half stay."""
    part_pairs: int = Field(default=256, gt=0)
    """Pairs sampled between two saved parts: what a killed run repeats at most."""
    rows: int = Field(default=512, gt=0)
    """Most rollouts that are generated at the same time."""

    @model_validator(mode="after")
    def _check(self) -> "DifficultyConfig":
        if self.pass_low > self.pass_high:
            raise ValueError(f"pass_low {self.pass_low} is above pass_high {self.pass_high}")
        if 0 < self.balance < 1:
            raise ValueError(
                f"balance {self.balance} would thin out the rarest label too: 1 or more, or 0 for no limit"
            )
        if self.sampling.temperature == 0:
            raise ValueError("sampling.temperature 0 draws the same response every time: pass rates would be 0 or 1")
        return self


class DiversityConfig(Strict):
    """Which of the pairs cover the space of pairs best."""

    method: Literal["k_center", "facility_location"] = "k_center"
    """`k_center` takes the pair that lies farthest from all taken ones: it reaches the rims. `facility_location` takes
    the pair that brings most pairs nearer to a taken one: it stands for the crowd."""
    budget: float = Field(default=0.5, gt=0)
    """How many pairs stay: up to 1 a share of those that difficulty leaves in, above 1 a number. 1 keeps all but
    duplicates."""
    near_duplicate: float = Field(default=0.98, gt=0, le=1)
    """Of pairs whose texts have at least this cosine (before any reduction of dimensions), and which have the same
    label, the first stays. Equal texts are always found, near ones within a block."""
    path_weight: float = Field(default=0.5, ge=0)
    """How much the entropy of a pair's reasoning paths adds to its worth: gains are multiplied by 1 + path_weight times
    the entropy over the largest one. 0 looks at texts alone; so does a selection without rollouts."""
    embedding: str = "tfidf"
    """`tfidf` (word and character n-grams, reduced by truncated SVD: no download), or the folder or hub name of a
    sentence-transformers model, where that library is installed."""
    dimensions: int = Field(default=64, gt=1)
    """Dimensions of the `tfidf` embedding."""
    block: int = Field(default=2000, gt=1)
    """Most pairs that are compared with each other at once. Larger sets are cut into so large clusters of near pairs,
    and the budget is shared out among them; see `diversity`."""
    label_quota: dict[str, Share] = Field(default_factory=dict)
    """Label -> share of the budget set aside for it. What a label cannot fill goes to the others."""
    tag_quota: dict[str, Share] = Field(default_factory=dict)
    """Slice tag -> share of the budget set aside for it, out of what the labels' quotas leave free."""

    @model_validator(mode="after")
    def _check(self) -> "DiversityConfig":
        if self.budget > 1 and not self.budget.is_integer():
            raise ValueError(f"budget {self.budget} is neither a share up to 1 nor a whole number of pairs")
        if sum(self.label_quota.values()) > 1 + 1e-9:
            raise ValueError(f"label_quota adds up to {sum(self.label_quota.values()):g}: more than the whole budget")
        return self


class SelectionConfig(Strict):
    """Difficulty first, then diversity; either may be left out."""

    difficulty: DifficultyConfig | None = DifficultyConfig()
    """None: every pair passes."""
    diversity: DiversityConfig | None = DiversityConfig()
    """None: everything that passes stays."""
    seed: int = 1
    """For sampling and for clusters."""
