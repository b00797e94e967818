"""Pools the folds of a data set, so that each pair counts once, and compares rows on the pairs that both judged."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from taosr_she.bench.real.examined import examined
from taosr_she.bench.real.kept import Kept
from taosr_she.bench.real.recipes import real_domain
from taosr_she.bench.real.rows import IN_ONE_PASS, ROWS
from taosr_she.bench.real.settings import DEVELOPMENT_FOLD, FOLDS, SETTINGS
from taosr_she.bench.real.trainings import Fold, covered, folds_of, said, seconds
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
REPEATED = ("macro_f1", "qwk", "no_known_error")
"""Metrics that are also shown for each training of a row."""
RESAMPLES = 2000


def collect(kept: Kept) -> dict[str, Any]:
    """`settings`: data set -> `people`, `gsrm`, and for each row its trainings and folds, metrics with intervals,
    comparisons, cost, on the report folds. `development`: the same on the fold that settings were chosen on."""
    report = [fold for fold in range(FOLDS) if fold != DEVELOPMENT_FOLD]
    parts: dict[str, Any] = {}
    for part, numbers in (("settings", report), ("development", [DEVELOPMENT_FOLD])):
        chosen = {name: folds_of(kept, name, numbers) for name in SETTINGS}
        parts[part] = {name: _setting(name, folds, numbers) for name, folds in chosen.items() if folds}
    return parts


def _setting(name: str, folds: list[Fold], numbers: list[int]) -> dict[str, Any]:
    domain = real_domain(name)
    of = {row: covered(folds, row, numbers) for row in ROWS}
    of = {row: having for row, having in of.items() if having}
    pooled = {row: said(name, having, row) for row, having in of.items()}
    rows: dict[str, Any] = {}
    for row, predictions in pooled.items():
        metrics, intervals = compute_metrics(domain, predictions), bootstrap_intervals(domain, predictions, RESAMPLES)
        reasons = ROWS[row].kind not in BARE
        steps = [*STEPS, *(f"step_{key}" for key in domain.step_keys)] if reasons else []
        rows[row] = {
            "title": ROWS[row].title, "what": ROWS[row].what,
            "pairs": sum(len(fold.cell["pairs"]["labels"]) for fold in {f.number: f for f in of[row]}.values()),
            "folds": sorted({fold.number for fold in of[row]}),
            "trainings": list(dict.fromkeys(fold.training for fold in of[row])),
            "metrics": {
                key: _cell(metrics, intervals, key)
                for key in (*LABELS, "ece", "malformed", *steps) if not math.isnan(metrics.get(key, math.nan))
            },
            "decisions": [fold.cell["rows"][row]["decision"] for fold in of[row]],
            "seconds": seconds(of[row], row), "repeated": _repeated(name, of[row], row), "against": {},
        }  # fmt: skip
    for other in AGAINST:
        _compare(name, other, pooled, rows, COMPARED, "against")
    probable = {row: _most_probable(domain, predictions) for row, predictions in pooled.items()}
    for row, predictions in probable.items():
        found = compute_metrics(domain, predictions)
        intervals = bootstrap_intervals(domain, predictions, RESAMPLES)
        rows[row] |= {"argmax": {k: _cell(found, intervals, k) for k in ARGMAX}, "argmax_against": {}}
    for other in AGAINST:
        _compare(name, other, probable, rows, ARGMAX, "argmax_against")
    once = {fold.number: fold for fold in folds}
    pairs = [pair for number, fold in once.items() for pair in _graded(number, fold.cell["pairs"], domain.codes)]
    examining = next((of[row] for row in of if ROWS[row].gsrm), [])
    return {
        "title": SETTINGS[name].title, "what": SETTINGS[name].what, "folds": numbers,
        "trainings": list(dict.fromkeys(fold.training for fold in folds)), "rows": rows,
        "people": human_ceiling(domain, pairs, RESAMPLES, 0),
        "gsrm": examined(examining, domain.step_keys, RESAMPLES),
    }  # fmt: skip


def _repeated(name: str, folds: list[Fold], row: str) -> dict[str, dict[str, Any]]:
    """Training -> the metrics in `REPEATED` on all its folds, and each one's QWK; {} for a classic baseline."""
    found: dict[str, dict[str, Any]] = {}
    if ROWS[row].kind == "classic":
        return found
    for training in dict.fromkeys(fold.training for fold in folds):
        own = [fold for fold in folds if fold.training == training]
        metrics = compute_metrics(real_domain(name), said(name, own, row))
        found[training] = {key: metrics[key] for key in REPEATED if not math.isnan(metrics.get(key, math.nan))}
        found[training]["qwk_of_folds"] = [
            compute_metrics(real_domain(name), said(name, [fold], row))["qwk"] for fold in own
        ]
    return found


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
    found: dict[str, dict[str, dict[str, Any]]] = {metric: {} for metric in metrics}
    for row, predictions in pooled.items():
        both = [p for p in predictions if p.pair_id in base]
        if row == other or not both:
            continue
        bare = {ROWS[row].kind, ROWS[other].kind} & set(BARE)
        wanted = [metric for metric in metrics if not (bare and metric in STEPS)]
        before = [base[p.pair_id] for p in both]
        for one in paired_comparison(real_domain(name), before, both, wanted, RESAMPLES):
            found[str(one["metric"])][row] = one
    for metric, compared in found.items():
        for row, p in zip(compared, holm([float(one["p"]) for one in compared.values()]), strict=True):
            rows[row][into].setdefault(other, {})[metric] = {
                **{key: compared[row][key] for key in ("difference", "low", "high")}, "p": p,
            }  # fmt: skip


def _graded(number: int, pairs: dict[str, Any], codes: tuple[str, ...]) -> list[Pair]:
    """The pairs of a fold, with the grades of their raters."""
    graded = zip(pairs["labels"], pairs["queries"], pairs["raters"], strict=True)
    return [
        Pair(
            f"{number}-{i}", f"{number}-{query}", "?", Product("?"), label=codes[int(label)],
            extra={"raters": raters} if raters else {},
        )
        for i, (label, query, raters) in enumerate(graded)
    ]  # fmt: skip
