"""The human ceiling: agreement between people, with the same metrics as for models.

If several people graded the same pairs, each of them can be scored like a model: against another person, and against
the final grade. A model that learns from such labels cannot be expected to agree with people more than they agree with
each other. The final grade is derived from the same people's grades, so the second score is too high.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.evaluate.intervals import percentiles, resampled_metrics
from taosr_she.evaluate.metrics import compute_metrics
from taosr_she.evaluate.prediction import Prediction

SHOWN = ("macro_f1", "good_f1", "accuracy", "qwk", "grade_error")
"""Metrics that need only labels."""
ROWS = {"person_person": "person against person", "person_final": "person against final grade"}
"""The comparisons, with their display names."""


def human_ceiling(domain: Domain, pairs: Sequence[Pair], resamples: int, seed: int) -> dict[str, dict[str, Any]]:
    """Key of ROWS -> `metrics`, `intervals` (95%, over queries), `pairs` and `people`; empty if no pair has the grades
    of two people.

    `person_person` is the mean over all ordered pairs of people: the first is scored against the second, on the pairs
    that both graded. `person_final` is the mean over people. If a metric is undefined for some of them, the mean is
    over the others.
    """
    rated = [(pair, grades) for pair in pairs if len(grades := ratings(domain, pair)) > 1]
    if not rated:
        return {}
    people = sorted({person for _, grades in rated for person in grades})
    alone = [
        _predictions(domain, [(pair, grades[a], grades[b]) for pair, grades in rated if a in grades and b in grades])
        for a, b in permutations(people, 2)
    ]
    final = [
        _predictions(domain, [(pair, grades[a], pair.label) for pair, grades in rated if a in grades]) for a in people
    ]
    queries = list(dict.fromkeys(pair.query_id for pair, _ in rated))
    found = {}
    for key, sets in (("person_person", alone), ("person_final", final)):
        sets = [predictions for predictions in sets if predictions]
        if sets:
            drawn = [resampled_metrics(domain, predictions, resamples, seed, queries) for predictions in sets]
            estimates = [compute_metrics(domain, predictions) for predictions in sets]
            found[key] = {
                "metrics": {name: float(_mean([e[name] for e in estimates])) for name in SHOWN},
                "intervals": {
                    name: list(percentiles(_mean([d[name] for d in drawn]), 0.95)) for name in SHOWN
                },
                "pairs": len({p.pair_id for predictions in sets for p in predictions}),
                "people": len(people),
            }  # fmt: skip
    return found


def ratings(domain: Domain, pair: Pair) -> dict[str, str]:
    """Person -> code of that person's grade for the pair, from its column `raters`: a list with a position for each
    person, or an object by name; missing grades are left out. Raises UserError for a grade off the label scale."""
    column = pair.extra.get("raters")
    if not column:
        return {}
    named = column if isinstance(column, Mapping) else {f"{i + 1}": grade for i, grade in enumerate(column)}
    found = {}
    for person, grade in named.items():
        if grade is None:
            continue
        code = domain.parse_label(grade)
        if code is None:
            raise UserError(
                f"pair '{pair.pair_id}': `raters` holds '{grade}', which is not on the label scale "
                f"({', '.join(domain.codes)})"
            )
        found[str(person)] = code
    return found


def _predictions(domain: Domain, answers: Sequence[tuple[Pair, str, str | None]]) -> list[Prediction]:
    """One person's grades as the predictions of a model: (pair, their grade, the grade to compare it with)."""
    unknown = (math.nan,) * len(domain.steps)
    return [
        Prediction(pair.pair_id, pair.query_id, truth, grade, verdicts=unknown)
        for pair, grade, truth in answers
        if truth is not None
    ]


def _mean(values: Sequence[Any]) -> np.ndarray:
    """The mean over the first axis of the known values; NaN if none is known."""
    stacked = np.array(values, dtype=np.float64)
    known = ~np.isnan(stacked)
    count = known.sum(axis=0)
    mean: np.ndarray = np.divide(
        np.where(known, stacked, 0).sum(axis=0), count, out=np.full(stacked.shape[1:], np.nan), where=count > 0
    )
    return mean
