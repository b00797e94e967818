"""Everything that the report shows about one model, as plain data for JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from taosr_she.domain.domain import Domain
from taosr_she.evaluate.intervals import bootstrap_intervals, paired_comparison
from taosr_she.evaluate.labels import label_entropy, label_shares
from taosr_she.evaluate.metrics import (
    PARTLY,
    compute_metrics,
    confusion_matrix,
    first_error_histogram,
    known_in_part,
    per_class,
)
from taosr_she.evaluate.prediction import Prediction
from taosr_she.evaluate.slices import slice_metrics

COMPARED = ("macro_f1", "good_f1", "accuracy", "qwk", "grade_error", "steps_all_right", "right_label_wrong_reasoning")
"""Metrics in a paired comparison, if both models have them."""


def model_results(domain: Domain, predictions: Sequence[Prediction], resamples: int, seed: int) -> dict[str, Any]:
    """Metrics with intervals, confusion matrix, classes, predicted labels, slices and first errors of one model.

    `labels_given` are shares among the predicted labels, `metrics.label_entropy` is their entropy in nats. Metrics in
    `PARTLY` are left out where they are the same as their counterparts.
    """
    left_out = () if known_in_part(domain, predictions) else PARTLY
    metrics = {k: v for k, v in compute_metrics(domain, predictions).items() if k not in left_out}
    metrics["mean_tokens"] = sum(p.tokens for p in predictions) / len(predictions)
    confusion = confusion_matrix(domain, predictions)
    given = label_shares(domain.codes, confusion, given=True)
    metrics["label_entropy"] = label_entropy(given.values())
    intervals = bootstrap_intervals(domain, predictions, resamples, seed)
    return {
        "metrics": metrics,
        "intervals": {k: list(v) for k, v in intervals.items() if k not in left_out},
        "confusion": confusion.tolist(),
        "labels_given": given,
        "per_class": per_class(domain, predictions),
        "first_error": first_error_histogram(domain, predictions),
        "slices": slice_metrics(domain, predictions),
    }


def true_labels(domain: Domain, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """`shares` of the human labels of the measured pairs, and their `entropy` in nats."""
    shares = label_shares(domain.codes, confusion_matrix(domain, predictions), given=False)
    return {"shares": shares, "entropy": label_entropy(shares.values())}


def comparisons(
    domain: Domain,
    predictions: Mapping[str, Sequence[Prediction]],
    chosen: Sequence[tuple[str, str]],
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Paired differences b - a for every chosen (a, b), on the same pairs and the same resamples."""
    steps = tuple(f"step_{key}" for key in domain.step_keys)
    rows = []
    for a, b in chosen:
        partly = PARTLY if any(known_in_part(domain, predictions[one]) for one in (a, b)) else ()
        keys = COMPARED + partly + steps
        for row in paired_comparison(domain, predictions[a], predictions[b], keys, resamples, seed):
            rows.append({"a": a, "b": b, **row})
    return rows
