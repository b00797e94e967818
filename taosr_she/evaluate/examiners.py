"""Quality of an examiner: accuracy, calibration and first errors, with controls that show what is easy.

Every metric is a function of sums over responses, so a bootstrap is one matrix product (as in `metrics`). The truth of
the steps comes from people or the market: 1 right, 0 wrong, NaN unknown. Values are P(correct), NaN unknown.
"""

from collections.abc import Sequence

import numpy as np

from taosr_she.base.errors import UserError
from taosr_she.evaluate.intervals import SHIFTED, centred, intervals_of, percentiles
from taosr_she.examine.verdicts import first_wrong

PRIMARY = "first_error_f1"
BINS = 10
"""Equal-width bins of P(correct) for the calibration error and the reliability plot."""
RIGHT = 0.5
"""A value below this means that the step is wrong."""

Columns = dict[str, np.ndarray]


def examiner_metrics(step_keys: Sequence[str], truth: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """All metrics from truth (N, K) and values (N, K); shares in [0, 1], NaN where there is nothing to divide by.

    - `accuracy`, `accuracy_<key>`: share of right verdicts among steps with known truth and known value; `known`: share
      of steps with known truth that have a value.
    - `ece`: expected calibration error of P(correct), 10 equal-width bins, over the same steps.
    - `first_error_f1`: harmonic mean of `first_error_flawed` (flawed responses whose first error is named exactly) and
      `first_error_clean` (faultless responses that pass), as ProcessBench (arXiv 2412.06559), over responses whose K
      truths and values are all known; NaN when one of the two kinds is missing.

    >>> examiner_metrics(("query", "label"), np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([[0.9, 0.2], [0.8, 0.7]]))[
    ...     "first_error_f1"
    ... ]
    1.0
    """
    sums = {name: column.sum(axis=0) for name, column in _columns(step_keys, truth, values).items()}
    return {name: float(value) for name, value in _metrics(step_keys, sums).items()}


def examiner_intervals(
    step_keys: Sequence[str],
    truth: np.ndarray,
    values: np.ndarray,
    pair_ids: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Metric -> (low, high): percentile bootstrap over pairs, because the responses of one pair are similar. The
    interval of the calibration error is centred on the estimate (`intervals.centred`).

    NaN with fewer than two pairs. Resamples in which a metric is undefined are left out.
    """
    drawn = resampled_metrics(step_keys, truth, values, pair_ids, resamples, seed)
    if len(set(pair_ids)) < 2:
        return {name: (np.nan, np.nan) for name in drawn}
    return intervals_of(examiner_metrics(step_keys, truth, values), drawn, level)


def examiner_differences(
    step_keys: Sequence[str],
    truth: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    pair_ids: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, tuple[float, float, float]]:
    """Metric -> (b - a, low, high) of two examiners of the same responses: the 95% percentile interval of the paired
    bootstrap over pairs. NaN ends with fewer than two pairs."""
    of_a, of_b = (examiner_metrics(step_keys, truth, values) for values in (a, b))
    drawn_a, drawn_b = (resampled_metrics(step_keys, truth, values, pair_ids, resamples, seed) for values in (a, b))
    found = {}
    for name in of_a:
        difference, drawn = of_b[name] - of_a[name], drawn_b[name] - drawn_a[name]
        if name in SHIFTED:
            drawn = centred(drawn, difference)
        ends = percentiles(drawn, 0.95) if len(set(pair_ids)) > 1 else (np.nan, np.nan)
        found[name] = (difference, *ends)
    return found


def resampled_metrics(
    step_keys: Sequence[str], truth: np.ndarray, values: np.ndarray, pair_ids: Sequence[str], resamples: int, seed: int
) -> dict[str, np.ndarray]:
    """Metric -> (resamples,) values over resampled pairs. The same seed and pairs give the same resamples."""
    pair_index: dict[str, int] = {}
    rows = np.array([pair_index.setdefault(pair_id, len(pair_index)) for pair_id in pair_ids])
    columns = _columns(step_keys, truth, values)
    by_pair = {name: np.zeros((len(pair_index), column.shape[1])) for name, column in columns.items()}
    for name, column in columns.items():
        np.add.at(by_pair[name], rows, column)
    pairs = len(pair_index)
    draws = np.random.default_rng(seed).multinomial(pairs, np.full(pairs, 1 / pairs), size=resamples).astype(float)
    return _metrics(step_keys, {name: draws @ column for name, column in by_pair.items()})


def processbench_f1(flawed: np.ndarray | float, clean: np.ndarray | float) -> np.ndarray:
    """Harmonic mean of the accuracies on flawed and on clean responses, in their unit; 0 where both are 0, NaN where
    one is unknown (ProcessBench, arXiv 2412.06559, section 3).

    >>> float(processbench_f1(50.2, 71.5).round(1))
    59.0
    """
    flawed, clean = np.asarray(flawed), np.asarray(clean)
    both = flawed + clean
    return np.where(both == 0, 0.0, _ratio(2 * flawed * clean, both))


def reliability(truth: np.ndarray, values: np.ndarray) -> list[dict[str, float]]:
    """Bins for the reliability plot: `low, high, count, value` (mean P(correct)), `right` (share); no empty ones."""
    known = ~np.isnan(truth) & ~np.isnan(values)
    right, value = truth[known] >= RIGHT, values[known]
    bins = _bins(value)
    return [
        {
            "low": b / BINS, "high": (b + 1) / BINS, "count": int((bins == b).sum()),
            "value": float(value[bins == b].mean()), "right": float(right[bins == b].mean()),
        }
        for b in np.unique(bins).tolist()
    ]  # fmt: skip


def always_correct(truth: np.ndarray) -> np.ndarray:
    """The control that finds nothing: values (N, K) of 1."""
    return np.ones_like(truth, dtype=np.float32)


def scalar_control(scores: np.ndarray, threshold: float, step: int, steps: int) -> np.ndarray:
    """One score per response, used as an examiner: from the threshold on all steps are right, below it `step` is wrong.

    One number cannot say where the error is, so `step` is the most frequent first wrong step. Values (N, K) from scores
    (N,).
    """
    values = np.ones((len(scores), steps), dtype=np.float32)
    values[:, step] = np.asarray(scores) >= threshold
    return values


def fit_scalar_control(step_keys: Sequence[str], scores: np.ndarray, truth: np.ndarray) -> tuple[float, int]:
    """(threshold, step) with the best first-error F1 on these responses, which should not be the ones reported on.

    Raises UserError unless there are both flawed and faultless responses, because otherwise nothing can be chosen.
    """
    best = (-1.0, 0.0, 0)
    for threshold in np.quantile(scores, np.linspace(0, 1, 101)).tolist():
        for step in range(len(step_keys)):
            values = scalar_control(scores, threshold, step, len(step_keys))
            f1 = examiner_metrics(step_keys, truth, values)[PRIMARY]
            if f1 > best[0]:
                best = (f1, threshold, step)
    if best[0] < 0:
        raise UserError("the scalar control needs examined responses with and without errors: examine more responses")
    return best[1], best[2]


def _columns(step_keys: Sequence[str], truth: np.ndarray, values: np.ndarray) -> Columns:
    """The contribution of each of N responses to the sums: matrices (N, width), with widths in trailing comments."""
    truth, values = np.asarray(truth, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if truth.shape != values.shape or truth.ndim != 2 or truth.shape[1] != len(step_keys):
        raise ValueError(f"truth {truth.shape} and values {values.shape} must both be (N, {len(step_keys)})")
    n, steps = truth.shape
    known = ~np.isnan(truth) & ~np.isnan(values)
    right, judged_right = truth >= RIGHT, values >= RIGHT
    gap = np.zeros((n, BINS))
    row, column = known.nonzero()
    np.add.at(gap, (row, _bins(values[known])), values[known] - right[row, column])
    whole = known.all(axis=1)
    first, named = first_wrong(~right), first_wrong(~judged_right)
    flawed = whole & (first < steps)
    return {
        "true": (~np.isnan(truth)).astype(float),  # K
        "known": known.astype(float),  # K
        "agree": (known & (right == judged_right)).astype(float),  # K
        "gap": gap,  # BINS: P(correct) minus right, in the bin of P(correct)
        "flawed": flawed[:, None].astype(float),  # 1
        "named": (flawed & (first == named))[:, None].astype(float),  # 1
        "clean": (whole & ~flawed)[:, None].astype(float),  # 1
        "passed": (whole & ~flawed & (named == steps))[:, None].astype(float),  # 1
    }


def _metrics(step_keys: Sequence[str], sums: Columns) -> Columns:
    """Metrics (...) from sums (..., width)."""
    known, agree = sums["known"], sums["agree"]
    flawed = _ratio(sums["named"][..., 0], sums["flawed"][..., 0])
    clean = _ratio(sums["passed"][..., 0], sums["clean"][..., 0])
    return {
        PRIMARY: processbench_f1(flawed, clean),
        "first_error_flawed": flawed,
        "first_error_clean": clean,
        "accuracy": _ratio(agree.sum(axis=-1), known.sum(axis=-1)),
        **{f"accuracy_{key}": _ratio(agree[..., k], known[..., k]) for k, key in enumerate(step_keys)},
        "ece": _ratio(np.abs(sums["gap"]).sum(axis=-1), known.sum(axis=-1)),
        "known": _ratio(known.sum(axis=-1), sums["true"].sum(axis=-1)),
    }


def _bins(values: np.ndarray) -> np.ndarray:
    return np.minimum((values * BINS).astype(int), BINS - 1)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)
