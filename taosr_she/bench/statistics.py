"""Intervals and tests over seeds and queries together.

A nested bootstrap: seeds are resampled, and within each drawn seed its queries (Davison and Hinkley, Bootstrap Methods
and their Application, 1997, section 3.8). Every seed has its own market, test queries and training, so seeds are the
upper level. With five seeds such intervals are somewhat too narrow; the JSON file has the values of every seed.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np


def over_seeds(values: Sequence[float], drawn: np.ndarray) -> dict[str, Any]:
    """Mean over seeds with the 95% interval. `drawn` (S, R): the metric over R resamples of each seed's queries."""
    means, _ = two_level(drawn)
    low, high = np.nanquantile(means, [0.025, 0.975])
    return {
        "mean": float(np.mean(values)),
        "low": float(low),
        "high": float(high),
        "values": [float(v) for v in values],
    }


def two_level(drawn: np.ndarray, seed: int = 0) -> tuple[np.ndarray, float]:
    """(R,) bootstrap means, each over S drawn seeds with one resample each, and the two-sided p of a true mean of 0.

    p is twice the smaller share of means on either side of 0. Counts get one more, so p is at least 2 / (R + 1).
    """
    seeds, resamples = drawn.shape
    rng = np.random.default_rng(seed)
    which = rng.integers(0, seeds, (seeds, resamples))
    means = np.nanmean(drawn[which, rng.integers(0, resamples, (seeds, resamples))], axis=0)
    fewer = min((means <= 0).sum(), (means >= 0).sum())
    return means, min(1.0, 2 * float(1 + fewer) / (1 + resamples))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979): adjusted p-values in the given order."""
    order = np.argsort(p, kind="stable")
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(order.tolist()):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = largest
    return adjusted
