"""The scalar reward model, trained on rollouts of the start policy: right labels are preferred to wrong ones."""

from typing import Any, ClassVar, Literal

from taosr_she.recipe.context import Context
from taosr_she.recipe.sampled_stage import SampledStage, preferences
from taosr_she.train.trl.scalar_reward_model import ScalarSettings, train_scalar


class ScalarRewardModelStage(SampledStage):
    """Train the scalar reward model, the baseline: preferred and rejected rollouts of the start policy."""

    kind: Literal["scalar_reward_model"]
    """Name of the kind."""
    offers: ClassVar[str] = "scalar_reward_model"
    checkpoint_is: ClassVar[str] = "a scalar reward model: one number for a whole response (a baseline)"
    settings: ScalarSettings = ScalarSettings()
    """How to train."""

    def run(self, context: Context) -> dict[str, Any]:
        """Sample responses, form preferences, train."""
        policy = context.policy(self.start)
        preferred, _ = preferences(self, context, policy)
        steps = self.settings.total_steps(len(preferred))
        update = context.progress.stage(context.name, steps)
        train_scalar(
            policy, preferred, self.settings, context.recipe.seed, context.folder,
            lambda row: update(int(row["step"]), f"loss {row['loss']:.3f}, accuracy {row['accuracy']:.2f}"),
        )  # fmt: skip
        return {"preferences": len(preferred), "steps": steps}
