"""Pools the folds of a data set, so that each pair counts once, and compares rows on the pairs that both judged."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from taosr_she.bench.predictions import decode
from taosr_she.bench.real.examined import examined
from taosr_she.bench.real.kept import Kept
from taosr_she.bench.real.recipes import real_domain
from taosr_she.bench.real.rows import IN_ONE_PASS, ROWS
from taosr_she.bench.real.settings import DEVELOPMENT_FOLD, FOLDS, SETTINGS
from taosr_she.bench.statistics import holm
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.evaluate.intervals import bootstrap_intervals, paired_comparison
from taosr_she.evaluate.metrics import PARTLY, compute_metrics
from taosr_she.evaluate.people import human_ceiling
from taosr_she.evaluate.prediction import Prediction

LABELS = ("macro_f1", "qwk", "accuracy", "grade_error")
STEPS = ("steps_all_right", "right_label_wrong_reasoning", *PARTLY)
BARE = ("classic", *IN_ONE_PASS)
"""Kinds of rows that are measured without reasoning."""
AGAINST = ("tfidf", "cross_encoder", "sft", "grpo", "grpo_own", "srpo")
"""Rows with which the others are compared."""
COMPARED = ("macro_f1", "qwk", "accuracy", *STEPS)
ARGMAX = ("macro_f1", "qwk", "accuracy")
"""Metrics that are also shown without a decision rule: one that is chosen on few queries is often a bad one."""
RESAMPLES = 2000


def collect(kept: Kept) -> dict[str, Any]:
    """`settings`: data set -> `people`, `gsrm`, and for each row its folds, metrics with intervals, comparisons, cost,
    on the report folds. `development`: the same on the fold that settings were chosen on."""
    report = [fold for fold in range(FOLDS) if fold != DEVELOPMENT_FOLD]
    parts: dict[str, Any] = {}
    for part, numbers in (("settings", report), ("development", [DEVELOPMENT_FOLD])):
        chosen = {name: {n: f for n, f in folds.items() if int(n) in numbers} for name, folds in kept.items()}
        parts[part] = {name: _setting(name, folds, numbers) for name, folds in chosen.items() if folds}
    return parts


def _setting(name: str, folds: dict[str, Any], numbers: list[int]) -> dict[str, Any]:
    pooled = {row: _pooled(name, folds, row) for row in ROWS if any(row in fold["rows"] for fold in folds.values())}
    rows: dict[str, Any] = {}
    for row, predictions in pooled.items():
        domain = real_domain(name)
        metrics, intervals = compute_metrics(domain, predictions), bootstrap_intervals(domain, predictions, RESAMPLES)
        reasons = ROWS[row].kind not in BARE
        steps = [*STEPS, *(f"step_{key}" for key in domain.step_keys)] if reasons else []
        records = [fold["rows"][row] for fold in folds.values() if row in fold["rows"]]
        rows[row] = {
            "title": ROWS[row].title, "what": ROWS[row].what, "pairs": len(predictions),
            "folds": sorted(int(number) for number, fold in folds.items() if row in fold["rows"]),
            "metrics": {
                key: _cell(metrics, intervals, key)
                for key in (*LABELS, "ece", "malformed", *steps) if not math.isnan(metrics.get(key, math.nan))
            },
            "decisions": [record["decision"] for record in records],
            "seconds": sum(record.get("seconds", 0.0) for record in records) / len(records),
            "judging_seconds": sum(record["judging_seconds"] for record in records) / len(records),
            "against": {},
        }  # fmt: skip
    for other in AGAINST:
        _compare(name, other, pooled, rows, COMPARED, "against")
    probable = {row: _most_probable(real_domain(name), predictions) for row, predictions in pooled.items()}
    for row, predictions in probable.items():
        found = compute_metrics(real_domain(name), predictions)
        intervals = bootstrap_intervals(real_domain(name), predictions, RESAMPLES)
        rows[row] |= {"argmax": {k: _cell(found, intervals, k) for k in ARGMAX}, "argmax_against": {}}
    for other in AGAINST:
        _compare(name, other, probable, rows, ARGMAX, "argmax_against")
    domain = real_domain(name)
    pairs = [pair for number, fold in folds.items() for pair in _graded(number, fold["pairs"], domain.codes)]
    return {
        "title": SETTINGS[name].title, "what": SETTINGS[name].what, "folds": numbers, "rows": rows,
        "people": human_ceiling(domain, pairs, RESAMPLES, 0), "gsrm": examined(folds, domain.step_keys, RESAMPLES),
    }  # fmt: skip


def _pooled(name: str, folds: dict[str, Any], row: str) -> list[Prediction]:
    """The row's predictions on all its folds. Ids and queries differ between folds."""
    domain = real_domain(name)
    return [
        replace(p, pair_id=f"{number}-{p.pair_id}", query_id=f"{number}-{p.query_id}")
        for number, fold in folds.items()
        if row in fold["rows"]
        for p in decode(domain, fold["pairs"], fold["rows"][row])
    ]


def _cell(metrics: dict[str, float], intervals: Mapping[str, tuple[float, float]], key: str) -> dict[str, float]:
    return {"value": metrics[key], "low": intervals[key][0], "high": intervals[key][1]}


def _most_probable(domain: Domain, predictions: list[Prediction]) -> list[Prediction]:
    """The same with each pair's most probable label, whatever the decision rule made of it."""
    return [p if p.probs is None else replace(p, predicted=domain.codes[int(np.argmax(p.probs))]) for p in predictions]


def _compare(
    name: str, other: str, pooled: dict[str, list[Prediction]], rows: dict[str, Any], metrics: Sequence[str], into: str
) -> None:
    """Each row minus `other`, on the pairs of both; p-values with Holm correction over the rows, for each metric."""
    if other not in pooled:
        return
    base = {p.pair_id: p for p in pooled[other]}
    for metric in metrics:
        found = {}
        for row, predictions in pooled.items():
            both = [p for p in predictions if p.pair_id in base]
            bare = {ROWS[row].kind, ROWS[other].kind} & set(BARE)
            if row == other or not both or (bare and metric in STEPS):
                continue
            before = [base[p.pair_id] for p in both]
            compared = paired_comparison(real_domain(name), before, both, [metric], RESAMPLES)
            if compared:
                found[row] = compared[0]
        for row, p in zip(found, holm([float(one["p"]) for one in found.values()]), strict=True):
            rows[row][into].setdefault(other, {})[metric] = {
                **{key: found[row][key] for key in ("difference", "low", "high")}, "p": p,
            }  # fmt: skip


def _graded(number: str, pairs: dict[str, Any], codes: tuple[str, ...]) -> list[Pair]:
    """The pairs of a fold, with the grades of their raters."""
    graded = zip(pairs["labels"], pairs["queries"], pairs["raters"], strict=True)
    return [
        Pair(
            f"{number}-{i}", f"{number}-{query}", "?", Product("?"), label=codes[int(label)],
            extra={"raters": raters} if raters else {},
        )
        for i, (label, query, raters) in enumerate(graded)
    ]  # fmt: skip
