"""The scalar reward model, trained on rollouts of the start policy: right labels before wrong ones."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from taosr_she.base.errors import UserError
from taosr_she.model.sampling import Sampling
from taosr_she.recipe.context import Context
from taosr_she.recipe.stage import SAMPLE_ROWS, Stage
from taosr_she.train.trl.preferences import preferences_by_outcome
from taosr_she.train.trl.scalar_reward_model import ScalarSettings, train_scalar


class ScalarRewardModelStage(Stage):
    """Train the scalar reward model, the baseline: preferred and rejected rollouts of the start policy."""

    kind: Literal["scalar_reward_model"]
    """Name of the kind."""
    offers: ClassVar[str] = "scalar_reward_model"
    checkpoint_is: ClassVar[str] = "a scalar reward model: one number for a whole response (a baseline)"
    start: str = "sft"
    """Name of the stage whose checkpoint samples the responses and is the reward model's start."""
    data: str = "data"
    """Name of the data stage."""
    group_size: int = Field(default=8, ge=2)
    """Responses sampled for each training pair."""
    per_pair: int = Field(default=2, gt=0)
    """Most preferences of one pair: a response with the right label before one with a wrong label."""
    sampling: Sampling = Sampling()
    """Length limit and temperature of the responses."""
    settings: ScalarSettings = ScalarSettings()
    """How to train."""

    def reads(self) -> list[tuple[str, str]]:
        return [("data", self.data), ("checkpoint", self.start)]

    def run(self, context: Context) -> dict[str, Any]:
        """Sample, pair up, train."""
        from taosr_she.model.responses import sample_responses

        data, domain, seed = context.data(self.data), context.domain, context.recipe.seed
        policy = context.policy(self.start)
        pairs, responses, _ = sample_responses(
            policy, domain, data.pairs("training"), self.group_size, self.sampling, seed, SAMPLE_ROWS
        )
        context.tell_malformed((r.reason for r in responses), self.start)
        preferences = preferences_by_outcome(policy, domain, pairs, responses, self.per_pair, seed)
        if not preferences:
            raise UserError(
                f"stage '{context.name}': no pair has rollouts with right and with wrong labels: nothing to prefer"
            )
        steps = self.settings.total_steps(len(preferences))
        update = context.progress.stage(context.name, steps)
        train_scalar(
            policy, preferences, self.settings, seed, context.folder,
            lambda row: update(int(row["step"]), f"loss {row['loss']:.3f}, accuracy {row['accuracy']:.2f}"),
        )  # fmt: skip
        return {"preferences": len(preferences), "steps": steps}
