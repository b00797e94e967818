"""How good the GSRM of the rows `hybrid` and `full` is, on responses to development pairs of all folds."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from taosr_she.bench.real.trainings import Fold
from taosr_she.evaluate.examiners import PRIMARY, always_correct, examiner_intervals, examiner_metrics
from taosr_she.recipe.data_folder import DataFolder
from taosr_she.recipe.stages.gsrm import VERDICTS

DIGITS = 4
"""Of P(correct), as it is kept."""
EXAMINERS = {
    "gsrm": "GSRM", "always_correct": "every step called right", "base_rate": "each step's more frequent verdict",
}  # fmt: skip
"""Key -> name: the GSRM, and controls that read nothing."""


def encode_examined(stages: Path) -> dict[str, Any]:
    """What a finished stage `gsrm` said: for each response its query's number, and what is right and P(correct) of each
    step; None unknown."""
    said = json.loads((stages / "gsrm" / VERDICTS).read_text("utf-8"))
    query_of = {pair.pair_id: pair.query_id for pair in DataFolder(stages / "data").pairs("development")}
    number: dict[str, int] = {}
    return {
        "queries": [number.setdefault(query_of[pair_id], len(number)) for pair_id in said["pair_ids"]],
        "truth": _rounded(said["people"]), "values": _rounded(said["examiners"]["gsrm"]),
    }  # fmt: skip


def examined(folds: Sequence[Fold], step_keys: tuple[str, ...], resamples: int) -> dict[str, Any]:
    """`folds`, `trainings`, `responses`, and `examiners`: name -> metric -> value with interval over queries; {} if no
    row has a GSRM.

    `folds`: those with a row that has one. A fold's rows share one GSRM, so it counts once in each training.
    """
    records = [
        (fold.number, next(row["gsrm"] for row in fold.cell["rows"].values() if "gsrm" in row)) for fold in folds
    ]
    if not records:
        return {}
    queries = [f"{number}-{query}" for number, record in records for query in record["queries"]]
    truth, values = (
        np.array([row for _, record in records for row in record[key]], dtype=float) for key in ("truth", "values")
    )
    wanted = ("accuracy", *(f"accuracy_{key}" for key in step_keys), "ece", PRIMARY)
    measured = {}
    for name, said in (("gsrm", values), ("always_correct", always_correct(truth)), ("base_rate", _base_rate(truth))):
        metrics = examiner_metrics(step_keys, truth, said)
        intervals = examiner_intervals(step_keys, truth, said, queries, resamples)
        measured[name] = {
            key: {"value": metrics[key], "low": intervals[key][0], "high": intervals[key][1]}
            for key in wanted if not math.isnan(metrics.get(key, math.nan))
        }  # fmt: skip
    return {
        "folds": sorted({fold.number for fold in folds}),
        "trainings": list(dict.fromkeys(fold.training for fold in folds)),
        "responses": len(queries), "examiners": measured,
    }  # fmt: skip


def _base_rate(truth: np.ndarray) -> np.ndarray:
    """(N, K): the share of right ones among the known verdicts of each step, of the same responses. So this control has
    the best accuracy that is possible without looking at a response."""
    known = ~np.isnan(truth)
    shares = np.nansum(truth, axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.broadcast_to(shares, truth.shape)


def _rounded(rows: list[list[float | None]]) -> list[list[float | None]]:
    return [[None if value is None else round(value, DIGITS) for value in row] for row in rows]
