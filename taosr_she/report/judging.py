"""Who examined, and how well: the judge beside its controls, verdicts by source, the monitors' warnings, the people."""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taosr_she.domain.annotation import read_annotations
from taosr_she.domain.domain import load_domain
from taosr_she.errors import UserError
from taosr_she.examine.agreement import ALL_STEPS, AnnotatorReport, PairAgreement, annotator_report, pair_agreement
from taosr_she.examine.verdicts import SOURCES
from taosr_she.report.load import RunData, StageData
from taosr_she.report.names import MISSING, Names, number
from taosr_she.report.plots import Chart, Series, line_chart

EXAMINERS = {"judge": "Judge", "scalar": "Scalar model, thresholded", "always_correct": "Always correct"}
METRICS = {
    "first_error_f1": "First-error F1",
    "first_error_flawed": "Finds the first error",
    "first_error_clean": "Passes what is right",
    "accuracy": "Verdicts right",
    "ece": "Calibration error",
}
LOW_IS_GOOD = ("ece",)


@dataclass(frozen=True)
class JudgeRow:
    """One metric: (value, interval, is it the best) of every examiner."""

    name: str
    cells: list[tuple[str, str, bool]]


@dataclass(frozen=True)
class JudgeCard:
    """One judge stage."""

    name: str
    pairs: int
    responses: int
    examiners: list[str]
    rows: list[JudgeRow]
    reliability: Chart | None
    notes: list[str]


@dataclass(frozen=True)
class SourceRow:
    """Verdicts of one step in one training stage: (source, share in percent), and what the verifier knew."""

    step: str
    shares: list[tuple[str, float]]
    hit_rate: str


@dataclass(frozen=True)
class WarningLine:
    """One kind of warning of a stage: its last wording, in how many updates it was given, the first and the last."""

    stage: str
    text: str
    count: int
    first: int
    last: int


@dataclass(frozen=True)
class People:
    """The annotators of one data stage."""

    stage: str
    annotators: list[AnnotatorReport]
    agreement: list[PairAgreement]  # over all steps


@dataclass(frozen=True)
class Judging:
    """Everything of the section; false when there is nothing to show."""

    judges: list[JudgeCard] = field(default_factory=list)
    sources: list[tuple[str, str, list[SourceRow]]] = field(default_factory=list)  # (colour, stage, rows)
    warnings: list[WarningLine] = field(default_factory=list)
    people: list[People] = field(default_factory=list)

    def __bool__(self) -> bool:
        """A run whose verdicts all come from one annotator needs no section."""
        return bool(self.judges or self.people)


def judging(run: RunData, names: Names) -> Judging:
    """From `judge.json`, the sources and warnings in the metrics, and the annotations of the data stages."""
    return Judging(
        judges=[card for stage in run.of_kind("judge") if (card := _card(stage, names)) is not None],
        sources=[
            (names.colour(stage.name), names.model(stage.name), rows)
            for stage in run.of_kind("rl")
            if (rows := _sources(stage, names))
        ],
        warnings=[line for stage in run.of_kind("rl") for line in _warnings(stage, names)],
        people=[
            people
            for kind in ("market", "pairs")
            for stage in run.of_kind(kind)
            if (people := _people(run, stage)) is not None
        ],
    )


def _card(stage: StageData, names: Names) -> JudgeCard | None:
    path = stage.folder / "judge.json"
    if not path.is_file():
        return None
    report: dict[str, Any] = json.loads(path.read_text("utf-8"))
    found = {key: report["examiners"][key] for key in EXAMINERS if key in report["examiners"]}
    wanted = METRICS | {f"accuracy_{key}": f"Verdicts right: {names.step(key)}" for key in report["step_keys"]}
    bins = found["judge"]["reliability"]
    chart = None
    if bins:
        series = [Series("judge", "s0", [b["value"] for b in bins], [b["right"] for b in bins])]
        if len(bins) > 1:
            series.append(Series("calibrated", "sb", [0.0, 1.0], [0.0, 1.0]))
        chart = line_chart("Reliability", "share of right steps", "P", series, share=True)
    return JudgeCard(
        name=stage.name,
        pairs=report["pairs"],
        responses=report["responses"],
        examiners=[EXAMINERS[key] for key in found],
        rows=[_row(key, name, list(found.values())) for key, name in wanted.items()],
        reliability=chart,
        notes=report["notes"],
    )


def _row(key: str, name: str, found: list[dict[str, Any]]) -> JudgeRow:
    values = [number(one["metrics"].get(key)) for one in found]
    known = [v for v in values if v is not None]
    best = (min if key in LOW_IS_GOOD else max)(known) if known else None
    cells = []
    for one, value in zip(found, values, strict=True):
        low, high = (number(v) for v in one["intervals"].get(key) or (None, None))
        interval = "" if low is None or high is None else f"[{low * 100:.1f}, {high * 100:.1f}]"
        cells.append(
            (MISSING if value is None else f"{value * 100:.1f}", interval, value is not None and value == best)
        )
    return JudgeRow(name, cells)


def _sources(stage: StageData, names: Names) -> list[SourceRow]:
    """Means over the updates."""
    rows = [row["sources"] for row in stage.metrics if row.get("sources")]
    if not rows:
        return []
    hits = stage.summary.get("hit_rate") or {}
    found = []
    for key in rows[0]:
        shares = {source: sum(row[key].get(source, 0.0) for row in rows) / len(rows) for source in SOURCES}
        hit = number(hits.get(key))
        found.append(
            SourceRow(
                names.step(key),
                [(source, share * 100) for source, share in shares.items() if share > 0],
                MISSING if hit is None else f"{hit * 100:.0f}%",
            )
        )
    return found


def _warnings(stage: StageData, names: Names) -> list[WarningLine]:
    """Warnings that differ in their numbers alone are one line."""
    told: dict[str, tuple[str, list[int]]] = {}
    for row in stage.metrics:
        for text in row.get("warnings") or ():
            kind = re.sub(r"[-+]?[\d.]+", "#", text)
            told[kind] = (text, [*told.get(kind, ("", []))[1], int(row["step"])])
    return [WarningLine(names.model(stage.name), text, len(at), at[0], at[-1]) for text, at in told.values()]


def _people(run: RunData, stage: StageData) -> People | None:
    """None with fewer than two annotators, or where annotations or domain cannot be read."""
    path: Path = stage.folder / "annotations.jsonl"
    if not path.is_file():
        return None
    annotations = read_annotations(path)
    if len(Counter(a.annotator for a in annotations)) < 2:
        return None
    try:
        domain = load_domain(run.recipe["domain"]).with_overrides(run.recipe.get("domain_overrides") or {})
    except (UserError, KeyError):
        run.gaps.append(f"How well the annotators of {stage.name} agree is left out: the domain cannot be read.")
        return None
    pairs = [p for p in pair_agreement(domain, annotations) if p.step == ALL_STEPS]
    return People(stage.name, annotator_report(domain, annotations), pairs)
