"""Learning curves of the rl stages: of one run, their mean over seeds, and the point where a curve reaches a level."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from taosr_she.train.rl.watch import WATCH

Point = dict[str, float]
SHOWN = ("macro_f1", "steps_all_right", "right_label_wrong_reasoning")


def curve_of(stage: Path, selection_tokens: float) -> list[Point]:
    """One point per evaluation in training: `step`, `tokens` (selection included), `seconds`, metrics, `entropy`."""
    updates = {row["step"]: row for row in _rows(stage / "metrics.jsonl")}
    points = []
    for look in _rows(stage / WATCH):
        near = updates[max(look["step"], 1)]  # the start has no update of its own, so it takes the first one's entropy
        point = {"step": look["step"], "tokens": look["tokens"] + selection_tokens, "seconds": look["seconds"]}
        points.append(point | {k: look[k] for k in SHOWN} | {"entropy": near["entropy"]})
    return points


def mean_curve(curves: Sequence[Sequence[Point]]) -> list[Point]:
    """Mean of each point, over the points that every curve has."""
    return [
        {key: float(np.mean([point[key] for point in points])) for key in points[0]}
        for points in zip(*curves, strict=False)
    ]


def reached(curve: Sequence[Point], level: float) -> dict[str, float | None]:
    """Tokens and seconds at which the curve first reaches the level, interpolated linearly; None if it never does."""
    for before, after in zip([curve[0], *curve], curve, strict=False):
        if after["macro_f1"] >= level:
            rise = after["macro_f1"] - before["macro_f1"]
            share = (level - before["macro_f1"]) / rise if rise > 0 else 0.0
            return {k: before[k] + max(0.0, share) * (after[k] - before[k]) for k in ("tokens", "seconds")}
    return {"tokens": None, "seconds": None}


def _rows(path: Path) -> list[Point]:
    """Rows of the file, with null read as NaN: a metric without a value, the entropy of an update without signal."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [{key: float("nan") if value is None else value for key, value in row.items()} for row in rows]
