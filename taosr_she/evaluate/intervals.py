"""Uncertainty of metrics: over the queries of one test set, between two models, and over training seeds.

Pairs of one query are not independent, so the bootstrap draws whole queries (cluster bootstrap; Efron and Tibshirani,
An Introduction to the Bootstrap, 1993, chapters 8 and 13). It estimates how one trained model would score on other test
sets. Only several seeds show how another training run would score.
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
"""Metrics whose resamples are centred on the estimate: see `centred`."""
_CHUNK = 4_000_000
"""Maximum number of query draws held at a time; limits memory on large test sets."""


def bootstrap_intervals(
    domain: Domain, predictions: Sequence[Prediction], resamples: int = RESAMPLES, seed: int = 0, level: float = 0.95
) -> dict[str, tuple[float, float]]:
    """Metric -> (low, high): percentile interval over resampled queries, for SHIFTED metrics after centring.

    Resamples in which a metric is undefined are left out. The interval is NaN if the metric itself is undefined, or if
    there are fewer than two queries.
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

    A calibration error is a sum of absolute values, so noise can only increase it (Kumar et al. 2019, arXiv 1909.10155;
    Roelofs et al. 2022, arXiv 2012.08668). A resample has the noise of the test set and of resampling. So all resamples
    are too high, and a percentile interval may exclude the estimate itself. The bootstrap estimates this bias as the
    distance between the median of the resamples and the estimate (Efron and Tibshirani 1993, chapter 10), and here it
    is subtracted. The usual remedies fail in this case: the basic bootstrap mirrors the bias to the other side, and BCa
    (chapter 14) needs the share of resamples below the estimate, which is zero.

    The result is an interval for the average of this measure on test sets of this size. It is not an interval for the
    error on unlimited data, which is lower, and more so the smaller the test set is.
    """
    known = drawn[~np.isnan(drawn)]
    return drawn - (np.median(known) - estimate) if known.size else drawn


def resampled_metrics(
    domain: Domain, predictions: Sequence[Prediction], resamples: int, seed: int, queries: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Metric -> (resamples,) values. The same seed and queries in the same order give the same resamples.

    `queries`: the queries to resample, if they are not those of the predictions in their order."""
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
    same for >= 0. It is at most 1 and at least 2 / (1 + resamples), and not corrected for the number of metrics. Raises
    UserError if the models were not run on the same pairs.
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
    """b in the order of a. UserError unless both have the same pairs, each once, with the same query and label."""
    for predictions in (a, b):
        pair, count = Counter(p.pair_id for p in predictions).most_common(1)[0] if predictions else ("", 0)
        if count > 1:
            raise UserError(f"cannot compare: pair '{pair}' occurs {count} times; pair ids must be unique")
    by_id = {p.pair_id: p for p in b}
    different = sorted({p.pair_id for p in a} ^ by_id.keys())
    if different:
        raise UserError(
            f"cannot compare: {len(different)} pairs have a prediction by only one model, e.g. '{different[0]}'; "
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
    """(R, Q) counts: how often each query was drawn in each resample, with Q draws each; in chunks of the R rows."""
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
