"""Examiners and their quality: the GSRM with its controls, verdicts by source, warnings of the monitors, annotators."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from taosr_she.base.errors import UserError
from taosr_she.domain.annotation import read_annotations
from taosr_she.examine.agreement import ALL_STEPS, AnnotatorReport, annotator_report, pair_agreement
from taosr_she.examine.hybrid import BAR, RIGHT
from taosr_she.examine.majority import MACHINE
from taosr_she.report.examination_plots import reliability_chart, sources_chart
from taosr_she.report.load import RunData, StageData, read_json
from taosr_she.report.names import MISSING, Names, number, signed
from taosr_she.report.plots import Series, line_chart
from taosr_she.report.responses import cut
from taosr_she.report.scores import Row, metric_row

EXAMINERS = {
    "gsrm": "GSRM", "start": "GSRM at the start", "scalar_reward_model": "Scalar reward model",
    "always_correct": "Always correct",
}  # fmt: skip
KINDS = ("gsrm", "gsrm_rl")
"""Kinds of stage that train a GSRM."""
DETAILS = {
    "gsrm": "generative reward model",
    "start": "before reinforcement learning",
    "scalar_reward_model": "control: one number, thresholded",
    "always_correct": "control: finds nothing",
}
COLOURS = {"gsrm": "by-gsrm", "start": "by-machine", "scalar_reward_model": "by-scalar", "always_correct": "sb"}
KIND_WORDS = {
    "found": "First error found", "other": "Another step named", "missed": "Error missed",
    "invented": "Error invented", "passed": "Rightly passed",
}  # fmt: skip
NO_MERIT = ("first_error_flawed", "first_error_clean", "known")
"""Each of these is perfect for an examiner that always says the same."""
ORDER = ("human", "machine", "gsrm", "scalar", "outcome", "unknown")
"""Sources as they stand in a bar."""
MONITORED = "gsrm_agreement"
"""A row of metrics with this key was watched by a monitor."""


@dataclass(frozen=True)
class Examiner:
    """Header of a column: the GSRM or a control."""

    name: str
    detail: str
    colour: str
    ece: str
    reliability: Markup | None  # None without a verdict that can be compared


@dataclass(frozen=True)
class ShownStep:
    """A step that the GSRM examined."""

    title: str
    text: str  # of the response; empty if the section is missing
    mark: str  # right | wrong | unknown, by the GSRM
    verdict: str  # "wrong, P 0.21; people: right"
    critique: str  # what the step should say by the GSRM; empty if it is silent


@dataclass(frozen=True)
class Shown:
    """A response that the GSRM examined."""

    kind: str  # what became of its first error, in words
    query: str
    product: str
    steps: list[ShownStep]


@dataclass(frozen=True)
class GSRMCard:
    """One stage that trained a GSRM: quality of the GSRM and its controls on the annotations of held-out people."""

    name: str
    pairs: int
    responses: int
    examples: int | None  # it was trained on
    examiners: list[Examiner]
    rows: list[Row]
    used_by: list[str]  # sentences on the training stages that it examined, with their bar
    notes: list[str]
    change: str  # of the first-error F1 by reinforcement learning: "+3.1 [+1.0, +5.2]"; or empty
    reward: Markup | None  # curve of the reward of its reasoning, of a stage that trained it so
    shown: list[Shown]  # responses that it examined, with its critiques


@dataclass(frozen=True)
class SourceColumn:
    """Verdicts of one training stage by source, over all updates; shares in percent."""

    name: str
    colour: str
    detail: str  # the mode
    shares: dict[str, list[tuple[str, float]]]  # step key -> (source, share)
    hit_rate: dict[str, str]  # step key -> percent
    chart: Markup  # all steps together, by update


@dataclass(frozen=True)
class Asked:
    """What people were asked during one training, and what they answered."""

    name: str
    asked: int
    answered: int
    withdrawn: int
    changed: int
    waited: str  # updates


@dataclass(frozen=True)
class Warned:
    """The monitors' warnings of one training stage."""

    name: str
    updates: int  # with a warning
    of: int
    lines: list[tuple[int, str]]  # update, warning


@dataclass(frozen=True)
class Agreement:
    """Two annotators: items that both judged, equal values in percent, Cohen's kappa over all steps and by step."""

    names: str
    items: int
    raw: str
    kappas: list[str]


@dataclass(frozen=True)
class People:
    """The annotators of one data stage."""

    stage: str
    annotators: list[AnnotatorReport]  # empty where nobody judged what two others judged
    outliers: list[AnnotatorReport]
    steps: list[str]  # titles of the steps with kappas
    agreement: list[Agreement]


@dataclass(frozen=True)
class Examination:
    """Everything of the section."""

    gsrms: list[GSRMCard]
    steps: list[tuple[str, str]]  # key, title
    sources: list[SourceColumn]
    legend: list[str]  # sources that occur
    asked: list[Asked]
    watched: list[str]  # training stages with a monitor
    warnings: list[Warned]
    people: list[People]

    @property
    def needed(self) -> bool:
        """A run whose verdicts all come from one annotator needs no section."""
        return bool(self.gsrms or self.people or self.asked or {"gsrm", "scalar"} & set(self.legend))


def examination(run: RunData, names: Names) -> Examination:
    """From `examiners.json`, the sources and warnings in the metrics, and the annotations. Raises UserError."""
    trained = [stage for stage in run.of_kind("rl") if any(row.get("sources") for row in stage.metrics)]
    keys = list(dict.fromkeys(key for stage in trained for key in _sources(stage)[0][1]))
    columns = [_column(stage, names) for stage in trained]
    found = {source for column in columns for shares in column.shares.values() for source, _ in shares}
    watched = [stage for stage in run.of_kind("rl") if any(MONITORED in row for row in stage.metrics)]
    data = [stage for stage in run.stages if stage.kind in ("market", "pairs")]
    return Examination(
        gsrms=[card for stage in run.stages if stage.kind in KINDS and (card := _card(run, stage, names))],
        steps=[(key, names.step(key)) for key in keys],
        sources=columns,
        legend=[source for source in ORDER if source in found],
        asked=[_asked(stage, names) for stage in trained if stage.summary.get("online")],
        watched=[names.model(stage.name) for stage in watched],
        warnings=[warned for stage in watched if (warned := _warned(stage, names)).lines],
        people=[people for stage in data if (people := _people(run, stage, names))],
    )


def _card(run: RunData, stage: StageData, names: Names) -> GSRMCard | None:
    path = stage.folder / "examiners.json"
    report = read_json(path)
    if report is None:
        return None
    try:
        found = {key: report["examiners"][key] for key in EXAMINERS if key in report["examiners"]}
        wanted = {
            "first_error_f1": "First-error F1", "first_error_flawed": "Finds the first error",
            "first_error_clean": "Passes clean responses", "accuracy": "Accuracy of the verdicts",
            **{f"accuracy_{key}": f"Step: {names.step(key)}" for key in report["step_keys"]},
            "ece": "Calibration error (ECE)", "known": "Steps with a verdict",
        }  # fmt: skip
        rows = [
            metric_row(found, key, name, lambda one: COLOURS[one], () if key in NO_MERIT else found)
            for key, name in wanted.items()
        ]
        return GSRMCard(
            name=stage.name,
            pairs=report["pairs"],
            responses=report["responses"],
            examples=(report.get("training") or {}).get("examples"),
            examiners=[_examiner(key, found[key]) for key in found],
            rows=[row for row in rows if row is not None and not _all_known(row)],
            used_by=_used_by(run, stage, names),
            notes=report.get("notes") or [],
            change=_change(report),
            reward=_reward(stage),
            shown=[_shown(example, names) for example in report.get("examples") or ()],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not what a `{stage.kind}` stage writes ({error!r}); run the stage again") from error


def _change(report: dict[str, Any]) -> str:
    """What reinforcement learning changed in the first-error F1, in percentage points, with its interval."""
    difference, low, high = (report.get("differences") or {}).get("start", {}).get("first_error_f1") or (None,) * 3
    if difference is None:
        return ""
    ends = f" [{signed(100 * low, 1)}, {signed(100 * high, 1)}]" if low is not None and high is not None else ""
    return signed(100 * difference, 1) + ends


def _reward(stage: StageData) -> Markup | None:
    """The curve of a stage that trained a GSRM by reinforcement learning."""
    rows = [(row["step"], value) for row in stage.metrics if (value := number(row.get("reward"))) is not None]
    if stage.kind != "gsrm_rl" or not rows:
        return None
    line = Series(stage.name, COLOURS["gsrm"], [step for step, _ in rows], [value for _, value in rows])
    return line_chart("Reward", "mean over the reasonings", "update", [line], share=False).svg


def _shown(example: dict[str, Any], names: Names) -> Shown:
    return Shown(
        kind=KIND_WORDS[example["kind"]],
        query=cut(example["query"]),
        product=cut(example["product"]),
        steps=[_shown_step(step, names) for step in example["steps"]],
    )


def _shown_step(step: dict[str, Any], names: Names) -> ShownStep:
    gsrm, people = number(step["gsrm"]), number(step["people"])
    said, theirs = ("unknown" if v is None else "right" if v >= RIGHT else "wrong" for v in (gsrm, people))
    certainty = f", P {gsrm:.2f}" if gsrm not in (None, 0.0, 1.0) else ""
    return ShownStep(
        title=names.step(step["step"]), text=cut(step["text"] or ""), mark=said,
        verdict=f"{said}{certainty}; people: {theirs}", critique=cut(step["critique"] or ""),
    )  # fmt: skip


def _all_known(row: Row) -> bool:
    """Everybody gave every verdict: nothing to tell."""
    return row.key == "known" and {cell.text for cell in row.cells} == {"100.0"}


def _examiner(key: str, content: dict[str, Any]) -> Examiner:
    bins, ece = content["reliability"], number(content["metrics"].get("ece"))
    return Examiner(
        EXAMINERS[key], DETAILS[key], COLOURS[key], _percent(ece, 1),
        reliability_chart(EXAMINERS[key], COLOURS[key], bins) if bins else None,
    )  # fmt: skip


def _used_by(run: RunData, gsrm: StageData, names: Names) -> list[str]:
    """`hybrid (human_first, bar 60.0)`; says so where the bar was overridden."""
    lines = []
    for stage in run.of_kind("rl"):
        how = stage.settings.get("examination") or {}
        if how.get("gsrm") == gsrm.name:
            override = ", which need not be reached" if how.get("override_bar") else ""
            mode = stage.summary.get("examined_by") or how.get("mode") or "human_first"
            lines.append(f"{names.model(stage.name)} ({mode}, bar {100 * how.get('bar', BAR):.1f}{override})")
    return lines


def _sources(stage: StageData) -> list[tuple[int, dict[str, dict[str, float]]]]:
    """(update, step key -> source -> share) of the rows that have it."""
    return [(row["step"], row["sources"]) for row in stage.metrics if row.get("sources")]


def _column(stage: StageData, names: Names) -> SourceColumn:
    rows = _sources(stage)
    keys = list(rows[0][1])
    shares = {key: _mean([sources[key] for _, sources in rows]) for key in keys}
    by_update = [_mean(list(sources.values())) for _, sources in rows]
    hits = stage.summary.get("hit_rate") or {}
    return SourceColumn(
        name=names.model(stage.name),
        colour=names.colour(stage.name),
        detail=str(stage.summary.get("examined_by") or ""),
        shares={key: [(source, 100 * s) for source, s in mean.items() if s > 0] for key, mean in shares.items()},
        hit_rate={key: _percent(number(hits.get(key)), 1) for key in keys},
        chart=sources_chart(names.model(stage.name), [update for update, _ in rows], by_update),
    )


def _mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean share of every source, in the order of ORDER."""
    return {source: sum(row.get(source, 0.0) for row in rows) / len(rows) for source in ORDER}


def _asked(stage: StageData, names: Names) -> Asked:
    found = stage.summary["online"]
    counts = {name: int(found[name]) for name in ("asked", "answered", "withdrawn", "changed")}
    waited = number(found["waited"])
    return Asked(names.model(stage.name), **counts, waited="–" if waited is None else f"{waited:.1f}")


def _warned(stage: StageData, names: Names) -> Warned:
    lines = [(int(row["step"]), str(text)) for row in stage.metrics for text in row.get("warnings") or ()]
    return Warned(names.model(stage.name), len({update for update, _ in lines}), len(stage.metrics), lines)


def _people(run: RunData, stage: StageData, names: Names) -> People | None:
    """None with fewer than two people, or without a readable domain."""
    path = stage.folder / "annotations.jsonl"
    if not path.is_file():
        return None
    annotations = [a for a in read_annotations(path) if not a.annotator.startswith(MACHINE)]
    if len({a.annotator for a in annotations}) < 2:
        return None
    if names.domain is None:
        run.gaps.append(f"How well the annotators of {stage.name} agree needs the domain.")
        return None
    reports = annotator_report(names.domain, annotations)
    by_two: dict[tuple[str, str], dict[str, Any]] = {}
    for row in pair_agreement(names.domain, annotations):
        by_two.setdefault((row.first, row.second), {})[row.step] = row
    steps = [key for key in names.domain.step_keys if any(key in rows for rows in by_two.values())]
    return People(
        stage=stage.name,
        annotators=reports if any(report.items for report in reports) else [],
        outliers=[report for report in reports if report.outlier],
        steps=[names.step(key) for key in steps],
        agreement=[
            Agreement(
                f"{first}, {second}", rows[ALL_STEPS].items, _percent(rows[ALL_STEPS].raw, 1),
                [_kappa(rows[key].kappa) if key in rows else MISSING for key in (ALL_STEPS, *steps)],
            )
            for (first, second), rows in by_two.items()
        ],
    )  # fmt: skip


def _kappa(value: float) -> str:
    return MISSING if math.isnan(value) else f"{value:.2f}"


def _percent(value: float | None, digits: int) -> str:
    return MISSING if value is None else f"{100 * value:.{digits}f}"
