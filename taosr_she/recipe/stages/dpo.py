"""Direct preference optimisation on the start policy's own responses: right labels before wrong ones."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from taosr_she.base.errors import UserError
from taosr_she.model.sampling import Sampling
from taosr_she.recipe.context import Context
from taosr_she.recipe.stage import SAMPLE_ROWS, Stage
from taosr_she.train.trl.dpo import DPOSettings, train_dpo
from taosr_she.train.trl.preferences import preferences_by_outcome


class DPOStage(Stage):
    """Direct preference optimisation, a baseline: own responses with the right label before those with a wrong one."""

    kind: Literal["dpo"]
    """Name of the kind."""
    offers: ClassVar[str] = "checkpoint"
    checkpoint_is: ClassVar[str] = (
        "a language model that judges in steps, trained on preferences among its own responses (a baseline)"
    )
    start: str = "sft"
    """Name of the stage whose checkpoint samples, and is start and reference."""
    data: str = "data"
    """Name of the data stage."""
    group_size: int = Field(default=8, ge=2)
    """Responses sampled for each training pair."""
    per_pair: int = Field(default=2, gt=0)
    """Most preferences of one pair."""
    sampling: Sampling = Sampling()
    """Length limit and temperature of the responses."""
    settings: DPOSettings = DPOSettings()
    """How to train."""

    def reads(self) -> list[tuple[str, str]]:
        return [("data", self.data), ("checkpoint", self.start)]

    def run(self, context: Context) -> dict[str, Any]:
        """Sample, pair up, train."""
        from taosr_she.model.responses import sample_responses

        domain, seed = context.domain, context.recipe.seed
        policy, reference = (context.policy(self.start) for _ in range(2))
        pairs, responses, tokens = sample_responses(
            policy, domain, context.data(self.data).pairs("training"), self.group_size, self.sampling, seed, SAMPLE_ROWS
        )
        context.tell_malformed((r.reason for r in responses), self.start)
        preferences = preferences_by_outcome(policy, domain, pairs, responses, self.per_pair, seed)
        if not preferences:
            raise UserError(f"stage '{context.name}': no pair has responses with right and with wrong labels")
        update = context.progress.stage(context.name, self.settings.total_steps(len(preferences)))
        train_dpo(
            policy, reference, preferences, self.settings, seed, context.folder,
            lambda row: update(int(row["step"]), f"loss {row['loss']:.3f}, accuracy {row['accuracy']:.2f}"),
        )  # fmt: skip
        return {"preferences": len(preferences), "tokens": sum(tokens)}
