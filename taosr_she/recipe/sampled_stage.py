"""Base of the stage kinds that sample responses of their start policy and train on a selection of them."""

from typing import TYPE_CHECKING

from pydantic import Field

from taosr_she.base.errors import UserError
from taosr_she.model.sampling import Sampling
from taosr_she.recipe.context import Context
from taosr_she.recipe.parts import kept_responses
from taosr_she.recipe.stage import Stage
from taosr_she.train.settings import TrainerSettings

if TYPE_CHECKING:
    from taosr_she.domain.pair import Pair
    from taosr_she.domain.response import Response
    from taosr_she.model.policy import Policy
    from taosr_she.train.trl.preferences import Preference


class SampledStage(Stage):
    """Samples responses of the start policy for every training pair. A subclass selects among them and trains."""

    start: str = "sft"
    """Name of the stage whose checkpoint samples the responses and is the start of training."""
    data: str = "data"
    """Name of the data stage."""
    group_size: int = Field(default=8, ge=2)
    """Number of responses sampled for each training pair."""
    per_pair: int = Field(default=2, gt=0)
    """Maximum number of examples made from one pair."""
    sampling: Sampling = Sampling()
    """Length limit and temperature of the responses."""
    settings: TrainerSettings
    """Settings of the training; the responses are sampled in its precision."""

    def reads(self) -> list[tuple[str, str]]:
        return [("data", self.data), ("checkpoint", self.start)]

    def sample(self, context: Context, policy: "Policy") -> "tuple[list[Pair], list[Response], list[int]]":
        """B = pairs x group_size rows: the pair of each response, the responses, and their lengths in tokens."""
        from taosr_she.engine.precision import computing

        with computing(policy.model, self.settings.precision):
            pairs, responses, tokens = kept_responses(
                context, policy, context.data(self.data).pairs("training"), self.group_size, self.sampling,
                context.recipe.seed,
            )  # fmt: skip
        context.tell_malformed((r.reason for r in responses), self.start)
        return pairs, responses, tokens


def preferences(stage: SampledStage, context: Context, policy: "Policy") -> "tuple[list[Preference], int]":
    """Preferences of right labels over wrong ones, and the number of sampled tokens. UserError if there are none."""
    from taosr_she.train.trl.preferences import preferences_by_outcome

    pairs, responses, tokens = stage.sample(context, policy)
    found = preferences_by_outcome(policy, context.domain, pairs, responses, stage.per_pair, context.recipe.seed)
    if not found:
        raise UserError(
            f"stage '{context.name}': no pair has responses both with right and with wrong labels: nothing to prefer"
        )
    return found, sum(tokens)
