"""Direct preference optimisation on the start policy's own responses: right labels before wrong ones."""

from typing import Any, ClassVar, Literal

from taosr_she.recipe.context import Context
from taosr_she.recipe.sampled_stage import SampledStage, preferences
from taosr_she.train.trl.dpo import DPOSettings, train_dpo


class DPOStage(SampledStage):
    """Direct preference optimisation, a baseline: own responses with the right label before those with a wrong one."""

    kind: Literal["dpo"]
    """Name of the kind."""
    offers: ClassVar[str] = "checkpoint"
    checkpoint_is: ClassVar[str] = (
        "a language model that judges in steps, trained on preferences among its own responses (a baseline)"
    )
    settings: DPOSettings = DPOSettings()
    """How to train."""

    def run(self, context: Context) -> dict[str, Any]:
        """Sample, pair up, train."""
        policy, reference = (context.policy(self.start) for _ in range(2))
        preferred, tokens = preferences(self, context, policy)
        update = context.progress.stage(context.name, self.settings.total_steps(len(preferred)))
        train_dpo(
            policy, reference, preferred, self.settings, context.recipe.seed, context.folder,
            lambda row: update(int(row["step"]), f"loss {row['loss']:.3f}, accuracy {row['accuracy']:.2f}"),
        )  # fmt: skip
        return {"preferences": len(preferred), "tokens": tokens}
