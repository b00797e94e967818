"""Metrics for every tag: where a model is weak, and whether that is more than chance."""

from collections.abc import Sequence

from taosr_she.domain.domain import Domain
from taosr_she.evaluate.intervals import RESAMPLES, bootstrap_intervals
from taosr_she.evaluate.metrics import PRIMARY, compute_metrics
from taosr_she.evaluate.prediction import Prediction

SHOWN = (PRIMARY, "accuracy", "steps_all_right", "right_label_wrong_reasoning")


def slice_metrics(
    domain: Domain, predictions: Sequence[Prediction], min_size: int = 20, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Tag -> `n` (pairs), the metrics in SHOWN, and `low`, `high`: the 95% bootstrap interval of macro-F1 over queries.

    Tags are in alphabetical order; a tag with fewer than `min_size` pairs is left out. Macro-F1 is over the grades that
    occur in the slice, so compare models within a slice, not slices with each other.
    """
    groups: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        for tag in set(prediction.tags):
            groups.setdefault(tag, []).append(prediction)
    slices = {}
    for tag, members in sorted(groups.items()):
        if len(members) >= min_size:
            metrics = compute_metrics(domain, members)
            low, high = bootstrap_intervals(domain, members, resamples, seed)[PRIMARY]
            slices[tag] = {"n": len(members), **{name: metrics[name] for name in SHOWN}, "low": low, "high": high}
    return slices
