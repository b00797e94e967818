"""Reinforcement learning with credit on steps, examined by people, a judge, or both."""

from typing import Any

from taosr_she.data.read import read_pairs
from taosr_she.errors import UserError
from taosr_she.model.policy import load_policy
from taosr_she.recipe.config import RLStage
from taosr_she.recipe.context import Context
from taosr_she.recipe.examination import examiners
from taosr_she.select.report import SELECTED
from taosr_she.train.loop import train_step_credit


def run(context: Context, stage: RLStage) -> dict[str, Any]:
    """Train from the start stage's checkpoint on the training split."""
    source = context.stages / stage.pairs / SELECTED if stage.pairs else context.data(stage.data).file("training")
    pairs = read_pairs(source)
    if not pairs:
        raise UserError(f"stage '{context.name}': stage '{stage.pairs or stage.data}' has no training pairs")
    policy = load_policy(str(context.checkpoint(stage.start)), context.recipe.device, "float32")
    who = examiners(context, stage)
    update = context.progress.stage(context.name, stage.settings.updates)

    def on_update(row: dict[str, Any]) -> None:
        update(
            int(row["step"]), f"reward {row['reward']:.3f}, signal {row['signal_share']:.2f}, "
            f"{row['tokens_per_second']:.0f} tok/s",
        )  # fmt: skip
        for line in row.get("warnings", ()):
            context.progress.say(f"{context.name}, update {row['step']}: {line}")

    summary = train_step_credit(
        policy, context.domain, pairs, who.examiner, stage.settings, context.recipe.seed, context.folder, on_update,
        who.monitor,
    )  # fmt: skip
    hits = {} if who.verifier is None else who.verifier.hit_rate()
    return summary | {"examined_by": stage.examination.resolved_mode, "hit_rate": hits}
