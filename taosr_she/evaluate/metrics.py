"""Metrics of a model's predictions: label quality, reasoning quality, form, calibration.

Every metric is a function of sums over pairs. `pair_columns` gives the contribution of each pair to the sums, and
`metrics_of_sums` turns sums into metrics. So a bootstrap over thousands of resamples is one matrix product
(`intervals`), and every metric has a single definition.

An undefined metric (no pair to divide by) is NaN, never 0.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain
from taosr_she.evaluate.prediction import Prediction

PRIMARY = "macro_f1"
"""The metric that decides between models."""
PLAIN = ("qwk", "grade_error")
"""Metrics that are not shares, so they are not shown in percent."""
BINS = 10
"""Equal-width bins of the calibration error."""
RIGHT = 0.5
"""A known verdict below this means that the step is wrong."""
PARTLY = ("no_known_error", "right_label_known_error")
"""Metrics that pairs with some unknown verdicts count in as well."""

Columns = dict[str, np.ndarray]
"""Name -> (N, width) float64, one row per pair; or sums of it, (..., width)."""


def compute_metrics(domain: Domain, predictions: Sequence[Prediction]) -> dict[str, float]:
    """All metrics as a flat dict; PRIMARY is the decisive one. All are shares in [0, 1] except those in PLAIN.

    A malformed response (`predicted` None) is a wrong answer: it lowers recall and accuracy, never a precision.

    - `accuracy`: share of pairs with the right label; `malformed`: share without a label.
    - `f1_<code>`: F1 of one grade; NaN if no pair truly has it. `macro_f1`: mean over the grades that occur in the
      truth. `good_f1`: F1 of the question "is this a good result?".
    - `qwk`: quadratic weighted kappa of predicted and true grades (Cohen 1968, Psychological Bulletin 70): 1 - (mean
      squared distance) / (the mean squared distance if predictions were shuffled), from -1 to 1; NaN if only one grade
      occurs. `grade_error`: mean distance in `Domain.grade_values`. Both are NaN for two grades; a malformed
      response counts as the grade that is farthest from the true one.
    - `step_<key>`: share of right ones among the known verdicts of the step.
    - `steps_all_right`: share with all K steps right, among pairs whose K verdicts are all known.
    - `right_label_wrong_reasoning`, `wrong_label_right_reasoning`: shares among the *examined* pairs, which have a
      known verdict on every step except the label step. Reasoning is wrong if any of these steps is wrong.
    - `no_known_error`, `right_label_known_error`: the counterparts of `steps_all_right` and
      `right_label_wrong_reasoning` among pairs with a known verdict on *some* step except the label step: the shares
      without any step known to be wrong, and with the right label although an earlier step is known to be wrong. As
      unknown steps may be wrong, they bound the shares among these pairs from above and from below. On data where few
      pairs have all verdicts known they say more; where every pair has, they are the same as their counterparts.
    - `ece`: expected calibration error of the label distribution's most probable grade, 10 equal-width bins (Guo et al.
      2017, arXiv 1706.04599), among pairs with a distribution.

    Raises UserError when there are no predictions, or when they do not fit the domain.
    """
    sums = {name: column.sum(axis=0) for name, column in pair_columns(domain, predictions).items()}
    return {name: float(value) for name, value in metrics_of_sums(domain, sums).items()}


def pair_columns(domain: Domain, predictions: Sequence[Prediction]) -> Columns:
    """The contribution of each of N pairs to the sums: matrices (N, width), with widths in trailing comments."""
    check_predictions(domain, predictions)
    index = {code: i for i, code in enumerate(domain.codes)}
    n, grades, steps = len(predictions), len(domain.codes), len(domain.step_keys)
    truth = np.array([index[p.label or ""] for p in predictions])
    predicted = np.array([grades if p.predicted is None else index[p.predicted] for p in predictions])
    verdicts = np.array([p.verdicts for p in predictions], dtype=np.float64).reshape(n, steps)

    known, wrong = ~np.isnan(verdicts), verdicts < RIGHT
    reasoning = np.arange(steps) != domain.label_step
    examined = known[:, reasoning].all(axis=1) & reasoning.any()
    partly = np.asarray(known[:, reasoning].any(axis=1))
    flawed = wrong[:, reasoning].any(axis=1)
    right_label = truth == predicted
    first_error = np.where(wrong.any(axis=1), wrong.argmax(axis=1), steps)

    with_probs = np.array([p.probs is not None for p in predictions])
    probs = np.array([p.probs or (0.0,) * grades for p in predictions])
    confidence, top = probs.max(axis=1), probs.argmax(axis=1)
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gap = np.eye(BINS)[bins] * (confidence - (top == truth))[:, None]
    return {
        "confusion": np.eye(grades * (grades + 1))[truth * (grades + 1) + predicted],  # grades * (grades + 1)
        "known": known.astype(np.float64),  # K
        "right": (known & ~wrong).astype(np.float64),  # K
        # If an earlier verdict is unknown, the first error is unknown too: such pairs do not count.
        "first_error": np.eye(steps + 1)[first_error] * known.all(axis=1, keepdims=True),  # K + 1, the last: none
        "examined": examined[:, None].astype(np.float64),  # 1
        "right_flawed": (examined & right_label & flawed)[:, None].astype(np.float64),  # 1
        "wrong_sound": (examined & ~right_label & ~flawed)[:, None].astype(np.float64),  # 1
        "partly": partly[:, None].astype(np.float64),  # 1
        "partly_clean": (partly & ~wrong.any(axis=1))[:, None].astype(np.float64),  # 1
        "partly_flawed": (partly & right_label & flawed)[:, None].astype(np.float64),  # 1
        "with_probs": with_probs[:, None].astype(np.float64),  # 1
        "gap": gap * with_probs[:, None],  # BINS: confidence minus hit, in the bin of the confidence
    }


def metrics_of_sums(domain: Domain, sums: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Metrics (...) from sums (..., width) of `pair_columns`, for any weights of the pairs."""
    grades = len(domain.codes)
    confusion = _square(sums["confusion"], grades)  # (..., truth, predicted)
    total = confusion.sum(axis=(-2, -1))
    scores = _class_scores(confusion)
    good = np.array([code in domain.good_codes for code in domain.codes])
    good_truth = confusion[..., good, :].sum(axis=(-2, -1))
    good_predicted = confusion[..., np.append(good, False)].sum(axis=(-2, -1))
    good_both = confusion[..., good, :][..., np.append(good, False)].sum(axis=(-2, -1))
    examined, partly = sums["examined"][..., 0], sums["partly"][..., 0]
    return {
        "macro_f1": _ratio(np.nansum(scores["f1"], axis=-1), (scores["support"] > 0).sum(axis=-1)),
        "accuracy": _ratio(np.trace(confusion, axis1=-2, axis2=-1), total),
        "good_f1": _f1(good_both, good_truth, good_predicted),
        **_grade_metrics(domain, confusion),
        **{f"f1_{code}": scores["f1"][..., i] for i, code in enumerate(domain.codes)},
        **{
            f"step_{key}": _ratio(sums["right"][..., k], sums["known"][..., k])
            for k, key in enumerate(domain.step_keys)
        },
        "steps_all_right": _ratio(sums["first_error"][..., -1], sums["first_error"].sum(axis=-1)),
        "right_label_wrong_reasoning": _ratio(sums["right_flawed"][..., 0], examined),
        "wrong_label_right_reasoning": _ratio(sums["wrong_sound"][..., 0], examined),
        "no_known_error": _ratio(sums["partly_clean"][..., 0], partly),
        "right_label_known_error": _ratio(sums["partly_flawed"][..., 0], partly),
        "malformed": _ratio(confusion[..., -1].sum(axis=-1), total),
        "ece": _ratio(np.abs(sums["gap"]).sum(axis=-1), sums["with_probs"][..., 0]),
    }


def known_in_part(domain: Domain, predictions: Sequence[Prediction]) -> bool:
    """Whether the metrics in `PARTLY` count pairs that their counterparts leave out."""
    columns = pair_columns(domain, predictions)
    return bool((columns["partly"] > columns["examined"]).any())


def confusion_matrix(domain: Domain, predictions: Sequence[Prediction]) -> np.ndarray:
    """(L, L + 1) counts: a row for each true grade, a column for each predicted grade, and one for malformed."""
    columns = pair_columns(domain, predictions)
    return _square(columns["confusion"].sum(axis=0), len(domain.codes)).astype(int)


def per_class(domain: Domain, predictions: Sequence[Prediction]) -> dict[str, dict[str, float]]:
    """Code -> precision, recall, f1, support (number of pairs that truly have the grade).

    Precision is NaN for a grade that is never predicted; recall and F1 for one that no pair truly has.
    """
    scores = _class_scores(confusion_matrix(domain, predictions).astype(np.float64))
    return {
        code: {**{name: float(score[i]) for name, score in scores.items()}, "support": int(scores["support"][i])}
        for i, code in enumerate(domain.codes)
    }


def first_error_histogram(domain: Domain, predictions: Sequence[Prediction]) -> dict[str, int]:
    """Step key -> number of responses with their first error in it; `none`: without error.

    Among pairs whose K verdicts are all known; empty if there are none.
    """
    counts = pair_columns(domain, predictions)["first_error"].sum(axis=0).astype(int)
    return dict(zip((*domain.step_keys, "none"), counts.tolist(), strict=True)) if counts.any() else {}


def check_predictions(domain: Domain, predictions: Sequence[Prediction]) -> None:
    """UserError unless there are predictions and all fit the domain's label scale and step schema."""
    if not predictions:
        raise UserError("no predictions to measure: the pairs are empty")
    codes = ", ".join(domain.codes)
    for p in predictions:
        if p.label is None:
            raise UserError(
                f"prediction of pair '{p.pair_id}': the pair has no human label; evaluate only labelled pairs"
            )
        for code in (p.label, p.predicted):
            if code is not None and code not in domain.codes:
                raise UserError(f"prediction of pair '{p.pair_id}': grade '{code}' is not on the label scale ({codes})")
        if p.probs is not None and len(p.probs) != len(domain.codes):
            raise UserError(f"prediction of pair '{p.pair_id}': {len(p.probs)} probabilities for the grades {codes}")
        if len(p.verdicts) != len(domain.step_keys):
            raise UserError(
                f"prediction of pair '{p.pair_id}': {len(p.verdicts)} verdicts for the {len(domain.step_keys)} steps "
                f"of domain '{domain.name}'; evaluate with this domain"
            )


def _square(flat: np.ndarray, grades: int) -> np.ndarray:
    return flat.reshape(*flat.shape[:-1], grades, grades + 1)


def _grade_metrics(domain: Domain, confusion: np.ndarray) -> dict[str, np.ndarray]:
    """`qwk` and `grade_error` (...) from the confusion matrix (..., L, L + 1)."""
    if not domain.graded:
        undefined = np.full(confusion.shape[:-2], np.nan)
        return {"qwk": undefined, "grade_error": undefined}
    values = np.array(domain.grade_values)
    distance = np.abs(values[:, None] - values)  # (L, L)
    farthest = np.eye(len(values))[[len(values) - 1 - int(row[::-1].argmax()) for row in distance]]  # (L, L)
    counts = confusion[..., :-1] + confusion[..., -1:] * farthest
    total = counts.sum(axis=(-2, -1))
    true, given = counts.sum(axis=-1), counts.sum(axis=-2)
    observed = (counts * distance**2).sum(axis=(-2, -1)) * total
    by_chance = np.einsum("...i,ij,...j->...", true, distance**2, given)
    return {
        "qwk": 1 - _ratio(observed, by_chance),
        "grade_error": _ratio((counts * distance).sum(axis=(-2, -1)), total),
    }


def _class_scores(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """(..., L) scores of each grade from the confusion matrix (..., L, L + 1)."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    support, predicted = confusion.sum(axis=-1), confusion[..., :-1].sum(axis=-2)
    return {
        "precision": _ratio(hits, predicted),
        "recall": _ratio(hits, support),
        "f1": _f1(hits, support, predicted),
        "support": support,
    }


def _f1(hits: np.ndarray, support: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """2·hits / (support + predicted), which is the harmonic mean of precision and recall; NaN without support."""
    return _ratio(2 * hits, np.where(support > 0, support + predicted, 0))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)
