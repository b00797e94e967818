"""Predictions in a few kilobytes: one character per pair (three for the confidence), stored with the test set."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from taosr_she.domain.domain import Domain
from taosr_she.evaluate.metrics import BINS, RIGHT
from taosr_she.evaluate.prediction import Prediction

Record = dict[str, Any]
FINE = 256
"""Steps within a bin of the calibration error, at which confidence is stored: rounding never changes its bin."""
NONE = "-"
"""No label (malformed), no verdict, no confidence."""


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
    """Predictions with the same metrics as the encoded ones; the confidence is rounded to 1 / 5120."""
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
    """A digit for the bin, two hexadecimal digits for the position in it."""
    coarse = min(int(value * BINS), BINS - 1)
    return f"{coarse}{min(int((value * BINS - coarse) * FINE), FINE - 1):02x}"


def _verdict(value: float) -> str:
    return NONE if np.isnan(value) else str(int(value >= RIGHT))
