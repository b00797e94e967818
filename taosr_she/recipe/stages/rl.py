"""Reinforcement learning with credit on steps, examined by people, a judge, or both."""

import json
from pathlib import Path
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.data.read import read_pairs
from taosr_she.domain.malformed import malformed_share_warning
from taosr_she.domain.pair import Pair
from taosr_she.examine.verifier import Verifier
from taosr_she.recipe.context import Context
from taosr_she.recipe.examination import examiners
from taosr_she.recipe.kinds import RLStage
from taosr_she.select.difficulty import difficulty
from taosr_she.select.report import SELECTED
from taosr_she.select.rollouts import read_part
from taosr_she.train.rl.curriculum import Curriculum
from taosr_she.train.rl.loop import train_step_credit
from taosr_she.train.rl.watch import Watch


def run(context: Context, stage: RLStage) -> dict[str, Any]:
    """Train from the start stage's checkpoint on the training split."""
    source = context.stages / stage.pairs / SELECTED if stage.pairs else context.data(stage.data).file("training")
    pairs = read_pairs(source)
    if not pairs:
        raise UserError(f"stage '{context.name}': stage '{stage.pairs or stage.data}' has no training pairs")
    policy = context.policy(stage.start)
    who = examiners(context, stage)
    curriculum = curriculum_of(context, stage, pairs) if stage.curriculum else None
    updates = curriculum.updates if curriculum else stage.settings.updates
    update = context.progress.stage(context.name, updates)
    told_malformed = False

    def on_update(row: dict[str, Any]) -> None:
        update(
            int(row["step"]), f"reward {row['reward']:.3f}, signal {row['signal_share']:.2f}, "
            f"{row['tokens_per_second']:.0f} tok/s",
        )  # fmt: skip
        nonlocal told_malformed
        malformed = malformed_share_warning(row["malformed_rate"])
        if malformed and (not told_malformed or row["step"] == updates):  # not at every update
            told_malformed = True
            context.progress.say(f"{context.name}, update {row['step']}: {malformed}")
        for line in row.get("warnings", ()):
            context.progress.say(f"{context.name}, update {row['step']}: {line}")
        if row.get("stage_ended"):
            context.progress.say(f"{context.name}, update {row['step']}: {row['stage']} ends ({row['stage_ended']})")

    summary = train_step_credit(
        policy, context.domain, pairs, who.examiner, stage.settings, context.recipe.seed, context.folder, on_update,
        who.monitor, curriculum, watch_of(context, stage),
    )  # fmt: skip
    mode = stage.examination.resolved_mode
    hits = hit_rate(context.folder / "metrics.jsonl") if mode in ("human_first", "human_only") else {}
    if who.endpoint is not None:
        summary["endpoint"] = who.endpoint.account()[2]
        who.endpoint.close()
    return summary | {"examined_by": mode, "hit_rate": hits}


def watch_of(context: Context, stage: RLStage) -> Watch | None:
    """Who answers development pairs during training, if the stage asks for it."""
    if stage.watch is None:
        return None
    data = context.data(stage.data)
    pairs = data.pairs("development")
    if not pairs:
        raise UserError(f"stage '{context.name}': `watch` needs development pairs; '{stage.data}' has none")
    truth = Verifier(context.domain, data.truth())
    return Watch(stage.watch, context.domain, pairs, truth, stage.settings.sample_rows)


def hit_rate(metrics: Path) -> dict[str, float]:
    """Step key -> share of the examined responses whose step people (or programs in their place) had spoken about.

    From the metrics, which hold every update; the verifier counts only what it was asked since the last resume.
    """
    rows = [json.loads(line)["sources"] for line in metrics.read_text("utf-8").splitlines()]
    return {
        key: sum(row[key].get("human", 0.0) + row[key].get("machine", 0.0) for row in rows) / len(rows)
        for key in rows[0]
    }


def curriculum_of(context: Context, stage: RLStage, pairs: list[Pair]) -> Curriculum:
    """The stages with their pairs. Raises UserError for a band that holds no pair, or that nobody has measured."""
    pools = []
    for leg in stage.curriculum:
        chosen = leg.pairs or stage.pairs
        pool = read_pairs(context.stages / leg.pairs / SELECTED) if leg.pairs else pairs
        if (leg.pass_low, leg.pass_high) != (0, 1):
            rates = _pass_rates(context.stages / str(chosen))
            if not rates:
                raise UserError(f"stage '{context.name}': '{chosen}' measured no pass rates: give it `difficulty`")
            pool = [p for p in pool if leg.pass_low <= rates[p.pair_id] <= leg.pass_high]
        if not pool:
            raise UserError(
                f"stage '{context.name}': no pair of '{chosen or stage.data}' has a pass rate from {leg.pass_low} "
                f"to {leg.pass_high}: widen the band of curriculum stage '{leg.name}'"
            )
        pools.append(pool)
    return Curriculum(stage.curriculum, stage.settings, pools)


def _pass_rates(folder: Path) -> dict[str, float]:
    """pair_id -> pass rate, from the rollouts that a select stage has kept."""
    parts = sorted((folder / "rollouts").glob("part-*.parquet"))
    return {pair_id: difficulty(r).pass_rate for part in parts for pair_id, r in read_part(part).items()}
