"""Choose the training pairs that are worth training on."""

from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.data.read import read_pairs
from taosr_she.examine.verifier import Verifier
from taosr_she.recipe.context import Context
from taosr_she.recipe.kinds import SelectStage
from taosr_she.select.pipeline import select_pairs
from taosr_she.select.report import SELECTED, write_selection
from taosr_she.select.rollouts import malformed_reasons, sample_rollouts


def run(context: Context, stage: SelectStage) -> dict[str, Any]:
    """Sample the start policy on the pairs, then choose; rollouts and report stay in the stage's folder."""
    data, domain, config = context.data(stage.data), context.domain, stage.selection
    pairs = read_pairs(context.stages / stage.pairs / SELECTED) if stage.pairs else data.pairs("training")
    rollouts = None
    if config.difficulty is not None:
        policy = context.policy(stage.start, "auto")
        update = context.progress.stage(context.name, -(-len(pairs) // config.difficulty.part_pairs))
        rollouts = sample_rollouts(
            policy, domain, pairs, Verifier(domain, data.annotations()), config.difficulty,
            context.recipe.seed, context.folder / "rollouts", lambda done, parts: update(done, "parts sampled"),
        )  # fmt: skip
        context.tell_malformed(malformed_reasons(rollouts), stage.start)
    selection = select_pairs(pairs, rollouts, config)
    if not selection.kept:
        raise UserError(f"stage '{context.name}': no pair is left: widen the band of pass rates (selection.difficulty)")
    report = write_selection(context.folder, pairs, selection, domain.step_keys)
    tokens = sum(r.tokens for r in rollouts.values()) if rollouts else 0
    return {"pairs": len(pairs), "kept": report["kept"], "tokens": tokens, "dropped": report["dropped"]}
