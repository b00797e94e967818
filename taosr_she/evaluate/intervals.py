"""How far metrics can be trusted: over the queries of one test set, between two models, and over training seeds.

Pairs of one query are not independent, so the bootstrap draws whole queries (cluster bootstrap; Efron and Tibshirani,
An Introduction to the Bootstrap, 1993, chapters 8 and 13). It says what another test set would give to this one trained
model; what another training run would give, only seeds can say.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain
from taosr_she.evaluate.metrics import compute_metrics, metrics_of_sums, pair_columns
from taosr_she.evaluate.prediction import Prediction

RESAMPLES = 1000
"""Enough for the ends of a 95% interval to settle."""
SHIFTED = ("ece",)
"""Metrics whose resamples are moved back onto the estimate: see `centred`."""
_CHUNK = 4_000_000
"""Query draws held at a time: bounds the memory on large test sets."""


def bootstrap_intervals(
    domain: Domain, predictions: Sequence[Prediction], resamples: int = RESAMPLES, seed: int = 0, level: float = 0.95
) -> dict[str, tuple[float, float]]:
    """Metric -> (low, high): percentile interval over resampled queries, for SHIFTED metrics after centring.

    A resample in which a metric is undefined says nothing about it and is left out. NaN where the metric itself is
    undefined, and everywhere when there are fewer than two queries.
    """
    drawn = resampled_metrics(domain, predictions, resamples, seed)
    return intervals_of(compute_metrics(domain, predictions), drawn, level)


def intervals_of(
    estimates: Mapping[str, float], drawn: Mapping[str, np.ndarray], level: float
) -> dict[str, tuple[float, float]]:
    """Metric -> (low, high) from the estimates and their (resamples,) values; SHIFTED metrics are shares in [0, 1]."""
    found = {}
    for name, values in drawn.items():
        if name in SHIFTED:  # centring can leave [0, 1]; NaN stays NaN
            low, high = percentiles(centred(values, estimates[name]), level)
            found[name] = (float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1)))
        else:
            found[name] = percentiles(values, level)
    return found


def centred(drawn: np.ndarray, estimate: float) -> np.ndarray:
    """Resampled values (R,) moved so that their median is the estimate.

    A calibration error is a sum of absolute values, so noise can only raise it (Kumar et al. 2019, arXiv 1909.10155;
    Roelofs et al. 2022, arXiv 2012.08668). A resample has the noise of the test set and that of drawing from it, so all
    resamples lie too high, and a percentile interval may leave out the very estimate it belongs to. The bootstrap's own
    estimate of that bias is how far the middle of the resamples lies from the estimate (Efron and Tibshirani 1993,
    chapter 10), and it is taken off here. Their usual cures fail just where the bias is: the basic bootstrap mirrors it
    to the other side, and BCa (chapter 14) asks for the share of resamples below the estimate, which is none.

    What is left is an interval for what this measure gives on average on test sets of this size. It is not one for the
    error of endless data, which lies lower the smaller the test set is.
    """
    known = drawn[~np.isnan(drawn)]
    return drawn - (np.median(known) - estimate) if known.size else drawn


def resampled_metrics(
    domain: Domain, predictions: Sequence[Prediction], resamples: int, seed: int, queries: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Metric -> (resamples,) values. The same seed and queries in the same order give the same resamples.

    `queries`: those that are drawn from, if they are others than those of the predictions in their order."""
    columns = pair_columns(domain, predictions)
    position: dict[str, int] = {query: i for i, query in enumerate(queries)}
    clusters = np.array([position.setdefault(p.query_id, len(position)) for p in predictions])
    by_query = {name: _sum_by(clusters, column, len(position)) for name, column in columns.items()}
    if len(position) < 2:
        return {name: np.full(resamples, np.nan) for name in metrics_of_sums(domain, by_query)}
    chunks = [
        metrics_of_sums(domain, {name: weights @ column for name, column in by_query.items()})
        for weights in _draws(len(position), resamples, np.random.default_rng(seed))
    ]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def paired_comparison(
    domain: Domain,
    a: Sequence[Prediction],
    b: Sequence[Prediction],
    metrics: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[dict[str, str | float]]:
    """Differences b - a on the same pairs: `{metric, difference, low, high, p}` for every metric that both models have.

    Both are measured on the same resamples of queries; `low` and `high` are the ends of the 95% percentile interval,
    of SHIFTED metrics after centring.
    `p` is two-sided: twice the smaller of (1 + number of resamples with a difference <= 0) / (1 + resamples) and the
    same for >= 0, at most 1, so never below 2 / (1 + resamples). It is not corrected for the number of metrics. Raises
    UserError when the models were not run on the same pairs.
    """
    b = align(a, b)
    values_a, values_b = compute_metrics(domain, a), compute_metrics(domain, b)
    drawn_a, drawn_b = resampled_metrics(domain, a, resamples, seed), resampled_metrics(domain, b, resamples, seed)
    rows: list[dict[str, str | float]] = []
    for metric in metrics:
        difference = values_b[metric] - values_a[metric]
        if math.isnan(difference):
            continue
        drawn = drawn_b[metric] - drawn_a[metric]
        if metric in SHIFTED:
            drawn = centred(drawn, difference)
        low, high = percentiles(drawn, 0.95)
        rows.append({"metric": metric, "difference": difference, "low": low, "high": high, "p": _two_sided(drawn)})
    return rows


def seed_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """(mean, low, high) of a metric over training seeds: Student's t-interval; NaN ends for a single seed."""
    from scipy.stats import t

    if not values:
        raise UserError("no seeds to summarise")
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, math.nan, math.nan
    half = float(t.ppf((1 + level) / 2, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))
    return mean, mean - half, mean + half


def paired_seed_interval(
    a_values: Sequence[float], b_values: Sequence[float], level: float = 0.95
) -> tuple[float, float, float]:
    """(mean, low, high) of b - a over seeds, seed by seed: t-interval of the differences."""
    if len(a_values) != len(b_values):
        raise UserError(f"cannot pair {len(a_values)} seeds with {len(b_values)}: run both models with the same seeds")
    return seed_interval([b - a for a, b in zip(a_values, b_values, strict=True)], level)


def align(a: Sequence[Prediction], b: Sequence[Prediction]) -> list[Prediction]:
    """b in the order of a. UserError unless both hold the same pairs, once each, with the same query and label."""
    for predictions in (a, b):
        pair, count = Counter(p.pair_id for p in predictions).most_common(1)[0] if predictions else ("", 0)
        if count > 1:
            raise UserError(f"cannot compare: pair '{pair}' is there {count} times; pair ids must differ")
    by_id = {p.pair_id: p for p in b}
    different = sorted({p.pair_id for p in a} ^ by_id.keys())
    if different:
        raise UserError(
            f"cannot compare: {len(different)} pairs were answered by one model only, e.g. '{different[0]}'; "
            "evaluate both on the same pairs"
        )
    for p in a:
        q = by_id[p.pair_id]
        if (p.query_id, p.label) != (q.query_id, q.label):
            raise UserError(f"cannot compare: pair '{p.pair_id}' has another query or label for the second model")
    return [by_id[p.pair_id] for p in a]


def _sum_by(groups: np.ndarray, column: np.ndarray, count: int) -> np.ndarray:
    """(count, width) sums of the rows (N, width) of each group."""
    sums = np.zeros((count, column.shape[1]))
    np.add.at(sums, groups, column)
    return sums


def _draws(queries: int, resamples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """(R, Q) counts: how often each query was drawn in each resample, Q draws a resample; chunks of the R rows."""
    rows = max(1, _CHUNK // queries)
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        drawn = rng.integers(0, queries, (size, queries)) + queries * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * queries).reshape(size, queries).astype(np.float64)


def percentiles(values: np.ndarray, level: float) -> tuple[float, float]:
    """The ends that hold the middle `level` of the known values; NaN where none is known."""
    known = values[~np.isnan(values)]
    if not known.size:
        return math.nan, math.nan
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _two_sided(differences: np.ndarray) -> float:
    known = differences[~np.isnan(differences)]
    if not known.size:
        return math.nan
    fewer = min((known <= 0).sum(), (known >= 0).sum())
    return min(1.0, 2 * float(1 + fewer) / (1 + known.size))
