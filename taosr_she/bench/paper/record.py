"""What is kept of a cell: enough to compute every table again, in a few kilobytes, when its run folder is gone.

Predictions are kept as one character a pair (three for the confidence), against the pairs of their seed.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from taosr_she.bench.paper.curves import curve_of
from taosr_she.bench.paper.methods import METHODS
from taosr_she.bench.paper.recipes import EVALUATE
from taosr_she.domain.domain import Domain
from taosr_she.evaluate.metrics import BINS, RIGHT
from taosr_she.evaluate.prediction import Prediction, read_predictions

Record = dict[str, Any]
FINE = 256
"""Steps of a kept confidence within its bin of the calibration error, so that no confidence changes bins."""
NONE = "-"
"""No label (malformed), no verdict, no confidence."""


def record_cell(stages: Path, key: str, model: str, domain: Domain, slices: Sequence[str]) -> tuple[Record, Record]:
    """The pairs of the seed, and what one method said about them and what its training took."""
    predictions = read_predictions(stages / f"{EVALUATE}{key}" / f"predictions-{model}.jsonl")
    return encode_pairs(domain, predictions, slices), encode(domain, predictions) | _training(stages, key, model)


def encode_pairs(domain: Domain, predictions: Sequence[Prediction], slices: Sequence[str]) -> Record:
    """Labels, queries and slices, in the order of the predictions."""
    position: dict[str, int] = {}
    return {
        "labels": "".join(str(domain.codes.index(str(p.label))) for p in predictions),
        "queries": [position.setdefault(p.query_id, len(position)) for p in predictions],
        "slices": {tag: "".join(str(int(tag in p.tags)) for p in predictions) for tag in slices},
    }


def encode(domain: Domain, predictions: Sequence[Prediction]) -> Record:
    """Predicted labels, verdicts step by step, and the most probable label with its probability."""
    tops = [None if p.probs is None else int(np.argmax(p.probs)) for p in predictions]
    return {
        "predicted": "".join(
            NONE if p.predicted is None else str(domain.codes.index(p.predicted)) for p in predictions
        ),
        "verdicts": {
            step: "".join(_verdict(p.verdicts[k]) for p in predictions) for k, step in enumerate(domain.step_keys)
        },
        "top": "".join(NONE if top is None else str(top) for top in tops),
        "confidence": "".join(NONE * 3 if p.probs is None else _confidence(max(p.probs)) for p in predictions),
    }


def decode(domain: Domain, pairs: Record, kept: Record) -> list[Prediction]:
    """Predictions that have the same metrics as those that were encoded; the confidence to 1 / 5120."""
    predictions = []
    for i, label in enumerate(pairs["labels"]):
        probs = None
        if kept["top"][i] != NONE:
            probs = [0.0] * len(domain.codes)
            coarse, fine = kept["confidence"][3 * i], kept["confidence"][3 * i + 1 : 3 * i + 3]
            probs[int(kept["top"][i])] = (int(coarse) + (int(fine, 16) + 0.5) / FINE) / BINS
        predicted = kept["predicted"][i]
        predictions.append(
            Prediction(
                str(i), str(pairs["queries"][i]), domain.codes[int(label)],
                None if predicted == NONE else domain.codes[int(predicted)],
                None if probs is None else tuple(probs),
                verdicts=tuple(
                    float("nan") if kept["verdicts"][step][i] == NONE else float(kept["verdicts"][step][i])
                    for step in domain.step_keys
                ),
                tags=tuple(tag for tag, inside in pairs["slices"].items() if inside[i] == "1"),
            )
        )  # fmt: skip
    return predictions


def _confidence(value: float) -> str:
    """A digit for the bin, two hexadecimal ones for the place in it."""
    coarse = min(int(value * BINS), BINS - 1)
    return f"{coarse}{min(int((value * BINS - coarse) * FINE), FINE - 1):02x}"


def _verdict(value: float) -> str:
    return NONE if np.isnan(value) else str(int(value >= RIGHT))


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
