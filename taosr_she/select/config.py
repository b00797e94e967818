"""All thresholds of selection."""

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
    """Length limit and temperature of the responses."""
    pass_low: float = Field(default=0.05, ge=0, le=1)
    """Minimum pass rate (share of rollouts with the right label). Below it, the policy hardly ever succeeds."""
    pass_high: float = Field(default=0.95, ge=0, le=1)
    """Maximum pass rate. Above it, there is hardly anything left to learn from the label."""
    need_signal: bool = False
    """Drop pairs whose rollouts agree in outcome and in every examined step, because no token of such a group gets
    credit. Only a band that includes 0 or 1 has such pairs. With few rollouts this is only a rough estimate."""
    keep_step_disagreement: bool = True
    """Keep a pair outside the band if its rollouts disagree about an examined step: step credit can learn from that
    difference, although the outcome cannot."""
    balance: float = Field(default=0.0, ge=0)
    """Maximum number of pairs of one label, as a multiple (1 or more) of the rarest label's number; 0 is no limit. The
    pairs with pass rates closest to one half are kept."""
    part_pairs: int = Field(default=256, gt=0)
    """Number of pairs sampled between two saved parts, which is the most that a killed run repeats."""
    rows: int = Field(default=512, gt=0)
    """Maximum number of rollouts that are generated at the same time."""

    @model_validator(mode="after")
    def _check(self) -> "DifficultyConfig":
        if self.pass_low > self.pass_high:
            raise ValueError(f"pass_low {self.pass_low} is above pass_high {self.pass_high}")
        if 0 < self.balance < 1:
            raise ValueError(
                f"balance {self.balance} would reduce the rarest label too: use 1 or more, or 0 for no limit"
            )
        if self.sampling.temperature == 0:
            raise ValueError("sampling.temperature 0 gives the same response every time: pass rates would be 0 or 1")
        return self


class DiversityConfig(Strict):
    """Which of the pairs cover the space of pairs best."""

    method: Literal["k_center", "facility_location"] = "k_center"
    """`k_center` takes the pair farthest from all taken ones, so it covers outliers. `facility_location` takes the pair
    that most increases the others' similarity to their nearest taken pair, so it covers dense regions."""
    budget: float = Field(default=0.5, gt=0)
    """How many pairs are kept: a share (up to 1) of the pairs that difficulty keeps, or a number above 1. 1 keeps all
    but duplicates."""
    near_duplicate: float = Field(default=0.98, gt=0, le=1)
    """Of pairs with the same label whose texts have at least this cosine (before any reduction of dimensions), only the
    first is kept. Equal texts are always found, near duplicates only within a block."""
    path_weight: float = Field(default=0.5, ge=0)
    """Weight of the entropy of a pair's reasoning paths: gains are multiplied by 1 + path_weight times the entropy
    divided by the largest entropy. With 0, or without rollouts, only texts count."""
    embedding: str = "tfidf"
    """`tfidf` (word and character n-grams, reduced by truncated SVD: no download), or the folder or hub name of a
    sentence-transformers model, if that library is installed."""
    dimensions: int = Field(default=64, gt=1)
    """Dimensions of the `tfidf` embedding."""
    block: int = Field(default=2000, gt=1)
    """Maximum number of pairs that are compared with each other. Larger sets are split into clusters of at most this
    size, which share the budget; see `diversity`."""
    label_quota: dict[str, Share] = Field(default_factory=dict)
    """Label -> share of the budget reserved for it. What a label cannot fill goes to the others."""
    tag_quota: dict[str, Share] = Field(default_factory=dict)
    """Slice tag -> share of the budget reserved for it, out of the part that the labels' quotas leave free."""

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
    """None: every pair that passes is kept."""
    seed: int = 1
    """Seed of sampling and of clusters."""
