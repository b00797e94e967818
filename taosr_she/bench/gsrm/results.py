"""The rows over all seeds: means with intervals over seeds and pairs, and differences from SFT."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from taosr_she.base.errors import UserError
from taosr_she.bench.gsrm.rows import ROWS, SFT
from taosr_she.bench.statistics import holm, over_seeds, two_level
from taosr_she.evaluate.examiners import PRIMARY, examiner_metrics, resampled_metrics
from taosr_she.recipe.stages.gsrm import VERDICTS

RESAMPLES = 2000
SHOWN = (PRIMARY, "first_error_flawed", "first_error_clean", "accuracy")


def first_error_f1(folder: Path, step_keys: Sequence[str]) -> float:
    """Of a finished stage, on the annotations of held-out people."""
    _, people, gsrm = verdicts_of(folder)
    return examiner_metrics(step_keys, people, gsrm)[PRIMARY]


def verdicts_of(folder: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """pair_ids (B), people's verdicts (B, K) and the GSRM's (B, K) of a finished stage; NaN unknown."""
    found = json.loads((folder / VERDICTS).read_text("utf-8"))
    people, gsrm = (np.array(rows, dtype=float) for rows in (found["people"], found["examiners"]["gsrm"]))
    return found["pair_ids"], people, gsrm


def collect(folders: Mapping[str, Mapping[int, Path]], step_keys: Sequence[str]) -> dict[str, Any]:
    """Row -> `metrics` (mean, low, high, values by seed), `against` SFT (first-error F1: difference, low, high, p after
    Holm), `seconds` of its training. `folders`: row -> seed -> folder of the finished stage."""
    drawn: dict[str, dict[str, np.ndarray]] = {}
    rows: dict[str, Any] = {}
    responses: dict[int, tuple[list[str], np.ndarray]] = {}
    for row, by_seed in folders.items():
        values: dict[str, list[float]] = {key: [] for key in SHOWN}
        draws: dict[str, list[np.ndarray]] = {key: [] for key in SHOWN}
        for seed, folder in by_seed.items():
            ids, people, gsrm = verdicts_of(folder)
            known_ids, known = responses.setdefault(seed, (ids, people))
            if known_ids != ids or not np.array_equal(known, people, equal_nan=True):
                raise UserError(f"{folder}: other responses than those of the rows above; run its seed again")
            found = examiner_metrics(step_keys, people, gsrm)
            again = resampled_metrics(step_keys, people, gsrm, ids, RESAMPLES, seed)
            for key in SHOWN:
                values[key].append(found[key])
                draws[key].append(again[key])
        drawn[row] = {key: np.array(of_key) for key, of_key in draws.items()}
        seconds = [json.loads((f / "stage.json").read_text("utf-8"))["seconds"] for f in by_seed.values()]
        rows[row] = {
            "title": ROWS[row].title, "what": ROWS[row].what,
            "metrics": {key: over_seeds(values[key], drawn[row][key]) for key in SHOWN},
            "seconds": float(np.mean(seconds)),
        }  # fmt: skip
    others = [row for row in rows if row != SFT]
    tests = [two_level(drawn[row][PRIMARY] - drawn[SFT][PRIMARY]) for row in others]
    for row, (means, _), p in zip(others, tests, holm([p for _, p in tests]), strict=True):
        low, high = np.nanquantile(means, [0.025, 0.975])
        difference = rows[row]["metrics"][PRIMARY]["mean"] - rows[SFT]["metrics"][PRIMARY]["mean"]
        rows[row]["against"] = {"difference": difference, "low": float(low), "high": float(high), "p": p}
    return rows
