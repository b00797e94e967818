"""Reinforcement learning with credit on steps, examined by people, a GSRM, or both."""

import json
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import model_validator

from taosr_she.base.errors import UserError
from taosr_she.data.fingerprint import fingerprint_file
from taosr_she.data.read import read_pairs
from taosr_she.domain.malformed import malformed_share_warning
from taosr_she.domain.pair import Pair
from taosr_she.engines.trl.settings import TRLSettings, refusal
from taosr_she.examine.verifier import Verifier
from taosr_she.recipe.context import Context
from taosr_she.recipe.examination import Examination, examiners
from taosr_she.recipe.stage import Stage, code_fingerprints
from taosr_she.train.rl.collapse import CollapseConfig
from taosr_she.train.rl.curriculum import Curriculum, CurriculumStage
from taosr_she.train.rl.settings import StepCreditSettings
from taosr_she.train.rl.watch import Watch, WatchConfig


class RLStage(Stage):
    """Reinforcement learning with credit on steps."""

    later: ClassVar[dict[str, Any]] = {"collapse": CollapseConfig(), "engine": "own", "trl": TRLSettings()}
    kind: Literal["rl"]
    """Name of the kind."""
    offers: ClassVar[str] = "checkpoint"
    checkpoint_is: ClassVar[str] = "a language model that judges in steps, trained by reinforcement learning"
    start: str = "sft"
    """Name of the stage whose checkpoint is the start."""
    data: str = "data"
    """Name of the data stage."""
    pairs: str | None = None
    """Name of a select stage, to train on the pairs that it chose; unset: on the whole training split."""
    curriculum: tuple[CurriculumStage, ...] = ()
    """Stages of the training, with bands of the pass rates that the select stage `pairs` has measured. Their `updates`
    replace that of the settings."""
    examination: Examination = Examination()
    """Who examines the rollouts."""
    watch: WatchConfig | None = None
    """Answer development pairs every few updates, for learning curves (`watch.jsonl`); unset: not."""
    collapse: CollapseConfig = CollapseConfig()
    """When to warn or stop because the rollouts no longer give some labels."""
    settings: StepCreditSettings = StepCreditSettings()
    """How to train."""
    engine: Literal["own", "trl"] = "own"
    """`own`: our loop. `trl`: TRL's GRPOTrainer with the same credit, for models larger than a device, and for vLLM
    (docs/scale.md)."""
    trl: TRLSettings = TRLSettings()
    """How TRL trains and samples, for `engine: trl`."""

    @model_validator(mode="after")
    def _check_curriculum(self) -> "RLStage":
        names = [stage.name for stage in self.curriculum]
        if len(set(names)) < len(names):
            raise ValueError("curriculum: two stages have the same name")
        for stage in self.curriculum:
            if (stage.pass_low, stage.pass_high) != (0, 1) and self.pairs is None and stage.pairs is None:
                raise ValueError("curriculum: bands of pass rates need `pairs`, the name of a select stage")
        for stage in self.curriculum:
            stage.resolve(self.settings)
        return self

    @model_validator(mode="after")
    def _engine_can(self) -> "RLStage":
        if self.engine == "own" and self.trl != TRLSettings():
            raise ValueError("`trl` is for engine: trl; set it, or leave `trl` out")
        more = [leg.name for leg in self.curriculum if set(leg.settings) - {"credit"}]
        own: dict[str, Any] = {f"settings of curriculum stage '{name}' other than `credit`": True for name in more}
        own |= {"`watch`": self.watch, "`examination.online`": self.examination.online}
        if self.engine == "trl" and (why := refusal(self.settings, own)):
            raise ValueError(why)
        return self

    def reads(self) -> list[tuple[str, str]]:
        how = self.examination
        optional = [("select", self.pairs), ("gsrm", how.gsrm), ("scalar_reward_model", how.scalar_reward_model)]
        optional += [("select", leg.pairs) for leg in self.curriculum]
        named = [(role, name) for role, name in optional if name is not None]
        return [("data", self.data), ("checkpoint", self.start), *named]

    def files(self) -> dict[str, str]:
        legs = [leg.resolve(self.settings) for leg in self.curriculum]
        names = [settings.credit.rule for settings in (self.settings, *legs)]
        code = code_fingerprints([*names, *([self.examination.examiner] if self.examination.examiner else [])])
        replay = self.examination.online.replay if self.examination.online else None
        return code | ({replay: fingerprint_file(Path(replay))} if replay and Path(replay).is_file() else {})

    def run(self, context: Context) -> dict[str, Any]:
        """Train from the start stage's checkpoint on the training split."""
        from taosr_she.select.report import SELECTED
        from taosr_she.train.rl.loop import train_step_credit

        source = context.stages / self.pairs / SELECTED if self.pairs else context.data(self.data).file("training")
        pairs = read_pairs(source)
        if not pairs:
            raise UserError(f"stage '{context.name}': stage '{self.pairs or self.data}' has no training pairs")
        # TRL moves the model by itself: as a whole it may not fit on a device.
        policy = context.policy(self.start, device="cpu" if self.engine == "trl" else None)
        curriculum = curriculum_of(context, self, pairs) if self.curriculum else None
        everything = [*pairs, *(pair for leg in curriculum.legs for pair in leg.pairs)] if curriculum else pairs
        who = examiners(context, self.examination, context.data(self.data), everything)
        updates = curriculum.updates if curriculum else self.settings.updates
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
            if row["collapse"]:
                context.progress.say(f"{context.name}, update {row['step']}: {row['collapse']}")
            if row.get("stage_ended"):
                context.progress.say(
                    f"{context.name}, update {row['step']}: {row['stage']} ends ({row['stage_ended']})"
                )

        if self.engine == "trl":
            from taosr_she.engines.trl.train import train_by_trl

            summary = train_by_trl(
                policy, context.domain, pairs, who.examiner, self.settings, context.recipe.seed, context.folder,
                on_update, who.monitor, self.collapse, self.trl, context.recipe.device, curriculum,
            )  # fmt: skip
        else:
            summary = train_step_credit(
                policy, context.domain, pairs, who.examiner, self.settings, context.recipe.seed, context.folder,
                on_update, who.monitor, curriculum, watch_of(context, self), self.collapse, who.online,
            )  # fmt: skip
        mode = self.examination.resolved_mode
        hits = hit_rate(context.folder / "metrics.jsonl") if mode in ("human_first", "human_only") else {}
        if who.endpoint is not None:
            summary["endpoint"] = who.endpoint.account()[2]
            who.endpoint.close()
        if who.online is not None:
            who.online.finish()
            summary["online"] = online_summary(context.folder / "metrics.jsonl")
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


def online_summary(metrics: Path) -> dict[str, float | None]:
    """Questions asked, answered, withdrawn, verdicts that differed from the GSRM's, and the mean age of an answer in
    updates; over the whole training, from the metrics."""
    rows = [json.loads(line) for line in metrics.read_text("utf-8").splitlines()]
    totals: dict[str, float | None] = {
        name: sum(row[f"online_{name}"] for row in rows) for name in ("asked", "answered", "withdrawn", "changed")
    }
    waited = sum(row["online_answered"] * row["online_waited"] for row in rows if row["online_answered"])
    return totals | {"waited": waited / totals["answered"] if totals["answered"] else None}


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
    """The stages with their pairs. Raises UserError for a band without pairs, or without measured pass rates."""
    from taosr_she.select.report import SELECTED

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
    from taosr_she.select.difficulty import difficulty
    from taosr_she.select.rollouts import read_part

    parts = sorted((folder / "rollouts").glob("part-*.parquet"))
    return {pair_id: difficulty(r).pass_rate for part in parts for pair_id, r in read_part(part).items()}
