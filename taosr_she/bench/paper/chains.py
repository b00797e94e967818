"""Where labels come from: pairs grouped by who gets every step right, and how often each label is right there.

A right chain of steps nearly always ends in the right label, a wrong chain in about half of the cases. The table shows
whether a method gains labels by fixing chains or by better guesses after wrong ones.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from taosr_she.domain.domain import Domain
from taosr_she.evaluate.metrics import RIGHT
from taosr_she.evaluate.prediction import Prediction

GROUPS = ("both", "mended", "broken", "neither")
"""Right chain in both, in the method's answer alone, in the baseline's alone, in neither."""

Table = dict[str, dict[str, float | None]]


def by_chain(domain: Domain, seeds: Iterable[tuple[Sequence[Prediction], Sequence[Prediction]]]) -> Table:
    """Group -> its `share` of the examined pairs, and the shares of right labels in it (`label` and `base_label`).

    `seeds` holds, for every seed, the predictions of the method and of the baseline for the same pairs in the same
    order. Pairs of all seeds have equal weight. A chain is right when every step before the label is right. Pairs with
    an unknown verdict on such a step are not counted. The shares of an empty group are None.
    """
    counts = np.zeros((len(GROUPS), 3))  # pairs, right labels of the method, of the baseline
    for mine, base in seeds:
        own_chain, own_label, own_known = _columns(domain, mine)
        base_chain, base_label, base_known = _columns(domain, base)
        group = np.where(own_chain, np.where(base_chain, 0, 1), np.where(base_chain, 2, 3))
        for g in range(len(GROUPS)):
            inside = (group == g) & own_known & base_known
            counts[g] += (inside.sum(), own_label[inside].sum(), base_label[inside].sum())
    pairs = counts[:, 0].sum()
    return {
        name: {
            "share": n / pairs if pairs else None,
            "label": own / n if n else None,
            "base_label": base / n if n else None,
        }
        for name, (n, own, base) in zip(GROUPS, counts.tolist(), strict=True)
    }


def _columns(domain: Domain, predictions: Sequence[Prediction]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three arrays of N bools: chain right, label right, every reasoning step has a verdict."""
    steps = [k for k in range(len(domain.step_keys)) if k != domain.label_step]
    verdicts = np.array([[p.verdicts[k] if p.verdicts else np.nan for k in steps] for p in predictions])
    label = np.array([p.predicted == p.label for p in predictions])
    return np.all(verdicts >= RIGHT, axis=1), label, ~np.any(np.isnan(verdicts), axis=1)
