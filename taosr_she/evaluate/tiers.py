"""Tiers in place of grades: the same metrics on a coarser scale, and the choice of the threshold between the tiers.

A search engine shows a product, ranks it down or leaves it out: it needs tiers more than grades. The tier of a pair is
the best one whose cumulative probability from the best grade downwards reaches one threshold (`judge.decision`).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from taosr_she.domain.domain import Domain, Grade
from taosr_she.evaluate.intervals import bootstrap_intervals
from taosr_she.evaluate.metrics import PRIMARY, compute_metrics, confusion_matrix, per_class
from taosr_she.evaluate.prediction import Prediction
from taosr_she.judge.decision import MEDIAN, Decision, decide_tier

TIER_METRIC = "tier_macro_f1"
"""Macro-F1 over the tiers, beside the metrics of the grades."""
SHOWN = (PRIMARY, "accuracy", "qwk")


def as_tiers(domain: Domain, predictions: Sequence[Prediction], decision: Decision) -> tuple[Domain, list[Prediction]]:
    """A domain whose grades are the tiers, and the predictions in it. Everything else is as it was.

    A malformed response has no tier, as it has no label.
    """
    scale = tuple(
        Grade(code=name, name=name, good=set(codes) <= domain.good_codes)
        for name in domain.tier_names
        for codes in [domain.tiers[name]]
    )
    coarse = domain.model_copy(update={"labels": scale, "rules": (), "tiers": {}})
    index = {code: i for i, code in enumerate(domain.codes)}
    found = []
    for p in predictions:
        probs = None if p.probs is None else dict(zip(domain.codes, p.probs, strict=True))
        mass = None if p.probs is None else tuple(
            sum(p.probs[index[code]] for code in domain.tiers[name]) for name in domain.tier_names
        )  # fmt: skip
        found.append(
            replace(
                p,
                label=None if p.label is None else domain.tier_of(p.label),
                predicted=decide_tier(decision, domain, p.predicted, probs),
                probs=mass,
            )
        )
    return coarse, found


def tier_results(
    domain: Domain, predictions: Sequence[Prediction], decision: Decision, resamples: int, seed: int
) -> dict[str, Any]:
    """`threshold`, `names`, `metrics` and `intervals` (SHOWN), `per_class` and `confusion` over the tiers; empty if the
    domain has none."""
    if not domain.tiers:
        return {}
    coarse, found = as_tiers(domain, predictions, decision)
    metrics, intervals = compute_metrics(coarse, found), bootstrap_intervals(coarse, found, resamples, seed)
    return {
        "threshold": MEDIAN if decision.tier_threshold is None else decision.tier_threshold,
        "names": list(coarse.codes),
        "metrics": {name: metrics[name] for name in SHOWN},
        "intervals": {name: list(intervals[name]) for name in SHOWN},
        "per_class": per_class(coarse, found),
        "confusion": confusion_matrix(coarse, found).tolist(),
    }


def with_tiers(model: dict[str, Any], tiers: dict[str, Any]) -> dict[str, Any]:
    """The results of a model (`model_results`) with those of its tiers, and TIER_METRIC among its metrics."""
    if not tiers:
        return model
    return {
        **model,
        "metrics": {**model["metrics"], TIER_METRIC: tiers["metrics"][PRIMARY]},
        "intervals": {**model["intervals"], TIER_METRIC: tiers["intervals"][PRIMARY]},
        "tiers": tiers,
    }
