"""Predicted labels compared with human labels: shares, entropy and macro-F1, from one table of counts."""

import math
from collections.abc import Iterable, Sequence

import numpy as np


def label_counts(codes: Sequence[str], truth: Sequence[str | None], given: Sequence[str | None]) -> np.ndarray:
    """(L, L + 1) counts: a row for each human label, a column for each predicted label, the last one for none.

    Pairs without a human label are not counted.
    """
    index = {code: i for i, code in enumerate(codes)}
    counts = np.zeros((len(codes), len(codes) + 1), dtype=np.int64)
    for true, found in zip(truth, given, strict=True):
        if true is not None:
            counts[index[true], len(codes) if found is None else index[found]] += 1
    return counts


def label_shares(codes: Sequence[str], counts: np.ndarray, given: bool) -> dict[str, float]:
    """Code -> share of the label in counts (L, L + 1): among the predicted labels, or among the human ones."""
    totals = counts[:, :-1].sum(axis=0) if given else counts.sum(axis=1)
    whole = max(1, int(totals.sum()))
    return {code: int(n) / whole for code, n in zip(codes, totals.tolist(), strict=True)}


def label_entropy(shares: Iterable[float]) -> float:
    """Entropy of a distribution in nats: 0 if all mass is on one label, log L if it is uniform over L labels."""
    return -sum(share * math.log(share) for share in shares if share > 0) + 0.0


def macro_f1(counts: np.ndarray) -> float:
    """Macro-F1 of counts (L, L + 1), over the human labels that occur; NaN if there are none."""
    hits, support, given = np.diagonal(counts), counts.sum(axis=1), counts[:, :-1].sum(axis=0)
    occurs = support > 0
    return float(np.mean(2 * hits[occurs] / (support + given)[occurs])) if occurs.any() else math.nan
