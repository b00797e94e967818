"""What is kept of a cell, in a few kilobytes: enough to compute every table again without its run folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from taosr_she.bench.paper.curves import curve_of
from taosr_she.bench.paper.methods import METHODS
from taosr_she.bench.paper.recipes import EVALUATE
from taosr_she.bench.predictions import Record, encode, encode_pairs
from taosr_she.domain.domain import Domain
from taosr_she.evaluate.prediction import read_predictions


def record_cell(stages: Path, key: str, model: str, domain: Domain, slices: Sequence[str]) -> tuple[Record, Record]:
    """The pairs of the seed, and what one method said about them and what its training took."""
    predictions = read_predictions(stages / f"{EVALUATE}{key}" / f"predictions-{model}.jsonl")
    return encode_pairs(domain, predictions, slices), encode(domain, predictions) | _training(stages, key, model)


def _training(stages: Path, key: str, model: str) -> Record:
    """Generated tokens, seconds, learning curve, entropy, signal, robustness: what there is of them."""
    results = json.loads((stages / f"{EVALUATE}{key}" / "results.json").read_text("utf-8"))
    robustness = results["models"][model].get("robustness")
    found: Record = {"robustness": robustness} if robustness else {}
    method = METHODS.get(model)
    if method is None or method.kind == "none":
        return found
    stage = json.loads((stages / key / "stage.json").read_text("utf-8"))
    selection, preparation = _before(stages, key)
    found |= {
        "tokens": stage["summary"].get("tokens", 0), "seconds": stage["seconds"], "selection_tokens": selection,
        "preparation_seconds": preparation,
    }  # fmt: skip
    if method.kind == "rl":
        curve = curve_of(stages / key, selection)
        rows = [json.loads(line) for line in (stages / key / "metrics.jsonl").read_text("utf-8").splitlines()]
        found |= {
            "curve": [{name: float(f"{value:.6g}") for name, value in point.items()} for point in curve],
            "seconds": curve[-1]["seconds"], "entropy": curve[-1]["entropy"],
            "signal": float(np.mean([row["signal_share"] for row in rows])),
        }  # fmt: skip
    return found


def _before(stages: Path, key: str) -> tuple[float, float]:
    """Tokens that selection sampled for a method, and seconds of the reward models and selections that it reads."""
    tokens, seconds = 0.0, 0.0
    records: dict[str, Any] = {}
    open_ = [key]
    while open_:
        for read in json.loads((stages / open_.pop() / "stage.json").read_text("utf-8"))["inputs"]:
            file = stages / read / "stage.json"
            if read not in records and file.is_file():  # a data stage also names the files that it reads
                records[read] = json.loads(file.read_text("utf-8"))
                open_.append(read)
    for record in records.values():
        if record["kind"] in ("select", "gsrm", "scalar_reward_model"):
            seconds += record["seconds"]
        if record["kind"] == "select":
            tokens += record["summary"].get("tokens", 0)
    return tokens, seconds
