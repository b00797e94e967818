import math
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import load_domain
from taosr_she.evaluate import intervals
from taosr_she.evaluate.intervals import (
    bootstrap_intervals,
    paired_comparison,
    paired_seed_interval,
    resampled_metrics,
    seed_interval,
)
from taosr_she.evaluate.metrics import PLAIN, compute_metrics
from taosr_she.evaluate.prediction import Prediction

DOMAIN = load_domain("taobao")
CODES = DOMAIN.codes
UNKNOWN = (math.nan,) * len(DOMAIN.steps)


def simulate(
    rng: np.random.Generator, queries: int, size: int, accuracy: float, spread: float = 0.0
) -> list[Prediction]:
    """Answers of a model whose accuracy differs from query to query by +-spread."""
    found = []
    for q in range(queries):
        chance = accuracy + spread * rng.choice([-1, 1])
        for i in range(size):
            truth = int(rng.integers(4))
            told = truth if rng.random() < chance else (truth + int(rng.integers(1, 4))) % 4
            found.append(Prediction(f"{q}-{i}", f"q{q}", CODES[truth], CODES[told], verdicts=UNKNOWN))
    return found


def calibrated(rng: np.random.Generator, queries: int, size: int, spread: float = 0.7) -> list[Prediction]:
    """A model that knows how sure it may be: truth drawn from its own probabilities. `spread` 0: always alike."""
    found = []
    for q in range(queries):
        for i in range(size):
            probs = rng.dirichlet([spread] * 4) if spread else np.array([0.4, 0.3, 0.2, 0.1])
            truth = int(rng.choice(4, p=probs))
            top = CODES[int(probs.argmax())]
            found.append(Prediction(f"{q}-{i}", f"q{q}", CODES[truth], top, probs=tuple(probs), verdicts=UNKNOWN))
    return found


def worsen(rng: np.random.Generator, predictions: list[Prediction], share: float) -> list[Prediction]:
    """The same answers, a share of them replaced by random ones."""
    return [replace(p, predicted=CODES[rng.integers(4)]) if rng.random() < share else p for p in predictions]


def flat(intervals: dict[str, tuple[float, float]]) -> dict[str, float]:
    return {f"{name} {i}": end for name, ends in intervals.items() for i, end in enumerate(ends)}


def test_resamples_are_metrics_of_drawn_queries() -> None:
    predictions = simulate(np.random.default_rng(0), 12, 3, 0.6)
    found = resampled_metrics(DOMAIN, predictions, 5, seed=3)
    draws = np.random.default_rng(3).integers(0, 12, (5, 12))
    for r, drawn in enumerate(draws):
        sample = [p for q in drawn for p in predictions if p.query_id == f"q{q}"]
        assert {k: v[r] for k, v in found.items()} == pytest.approx(compute_metrics(DOMAIN, sample), nan_ok=True)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = simulate(np.random.default_rng(0), 12, 3, 0.6)
    whole = bootstrap_intervals(DOMAIN, predictions, 50, seed=1)
    monkeypatch.setattr(intervals, "_CHUNK", 7 * 12)
    assert flat(bootstrap_intervals(DOMAIN, predictions, 50, seed=1)) == pytest.approx(flat(whole), nan_ok=True)
    assert bootstrap_intervals(DOMAIN, predictions, 50, seed=2)["accuracy"] != whole["accuracy"]


def test_a_known_accuracy_is_covered_at_about_the_nominal_rate() -> None:
    """Accuracy 0.7 with queries that differ: pair-wise resampling would cover far less than 90%."""
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        predictions = simulate(rng, 50, 6, accuracy=0.7, spread=0.25)
        low, high = bootstrap_intervals(DOMAIN, predictions, 200, seed, level=0.9)["accuracy"]
        covered += low <= 0.7 <= high
    assert 0.84 <= covered / 200 <= 0.96  # 90% give or take three standard errors


@given(st.integers(0, 10**6), st.integers(2, 60), st.integers(1, 3), st.sampled_from([0.0, 0.7]))
@settings(max_examples=60, deadline=None)
def test_every_interval_holds_its_estimate(seed: int, queries: int, size: int, spread: float) -> None:
    """The calibration error of a calibrated model above all: every resample of it may lie higher than the estimate."""
    predictions = calibrated(np.random.default_rng(seed), queries, size, spread)
    estimates = compute_metrics(DOMAIN, predictions)
    for metric, (low, high) in bootstrap_intervals(DOMAIN, predictions, 200, seed).items():
        if not math.isnan(low) and not math.isnan(estimates[metric]):
            assert low - 1e-12 <= estimates[metric] <= high + 1e-12, metric
            assert low <= high and (metric in PLAIN or 0 <= low <= high <= 1), metric
    paired = paired_comparison(DOMAIN, predictions, worsen(np.random.default_rng(seed), predictions, 0.3), ["ece"], 200)
    assert all(float(row["low"]) - 1e-12 <= float(row["difference"]) <= float(row["high"]) + 1e-12 for row in paired)


def test_a_model_that_is_exactly_calibrated_has_an_interval_from_nothing() -> None:
    """Confidence 0.6 everywhere, and 60 of 100 right: the percentile interval of this 0 did not hold it."""
    probs = (0.6, 0.2, 0.1, 0.1)
    predictions = [
        Prediction(f"p{i}", f"q{i}", CODES[0 if i < 60 else 1], CODES[0], probs=probs, verdicts=UNKNOWN)
        for i in range(100)
    ]
    drawn = resampled_metrics(DOMAIN, predictions, 1000, 0)["ece"]
    assert compute_metrics(DOMAIN, predictions)["ece"] == pytest.approx(0) and np.quantile(drawn, 0.025) > 0
    low, high = bootstrap_intervals(DOMAIN, predictions)["ece"]
    assert low == 0 and 0.02 < high < 0.1


def test_the_centred_interval_covers_what_test_sets_of_this_size_give() -> None:
    rng = np.random.default_rng(0)
    usual = np.mean([compute_metrics(DOMAIN, calibrated(rng, 60, 2))["ece"] for _ in range(200)])
    covered = 0
    for seed in range(100):
        low, high = bootstrap_intervals(DOMAIN, calibrated(rng, 60, 2), 200, seed, level=0.9)["ece"]
        covered += low <= usual <= high
    assert covered >= 81  # 90 expected, three standard errors below


def test_repeating_the_pairs_of_every_query_narrows_nothing() -> None:
    predictions = simulate(np.random.default_rng(0), 40, 2, 0.6)
    doubled = [p for p in predictions for _ in range(2)]
    once, twice = bootstrap_intervals(DOMAIN, predictions), bootstrap_intervals(DOMAIN, doubled)
    assert flat(twice) == pytest.approx(flat(once), nan_ok=True)


def test_undefined_metrics_and_a_single_query_have_no_interval() -> None:
    predictions = simulate(np.random.default_rng(0), 5, 3, 0.6)
    found = bootstrap_intervals(DOMAIN, predictions)
    assert all(math.isnan(end) for end in found["step_query"] + found["ece"])
    assert not any(math.isnan(end) for end in found["accuracy"])
    single = bootstrap_intervals(DOMAIN, predictions[:3])
    assert single.keys() == found.keys() and all(math.isnan(end) for ends in single.values() for end in ends)


def test_a_metric_that_some_resamples_lack_uses_the_others() -> None:
    """One query alone holds grade 3; about a third of the resamples miss it."""
    predictions = [
        Prediction(f"p{i}", f"q{i}", "3" if i == 0 else "4", "3" if i == 0 else "4", verdicts=UNKNOWN)
        for i in range(20)
    ]
    assert bootstrap_intervals(DOMAIN, predictions)["f1_3"] == (1.0, 1.0)


def test_two_thousand_pairs_a_thousand_times_take_about_a_second() -> None:
    predictions = simulate(np.random.default_rng(0), 1000, 2, 0.6)
    started = time.process_time()
    bootstrap_intervals(DOMAIN, predictions)
    assert time.process_time() - started < 2


def test_comparison_finds_a_real_difference() -> None:
    rng = np.random.default_rng(0)
    b = simulate(rng, 200, 3, 0.8)
    a = worsen(rng, b, 0.15)
    for row in paired_comparison(DOMAIN, a, b, ["macro_f1", "accuracy"]):
        metric = str(row["metric"])
        assert row["difference"] == compute_metrics(DOMAIN, b)[metric] - compute_metrics(DOMAIN, a)[metric]
        assert 0 < row["low"] < row["difference"] < row["high"] and row["p"] == 2 / 1001
    (other,) = paired_comparison(DOMAIN, b, a, ["accuracy"])
    (row,) = paired_comparison(DOMAIN, a, b, ["accuracy"])
    assert (other["low"], other["high"], other["p"]) == pytest.approx((-row["high"], -row["low"], row["p"]))


def test_comparison_rarely_finds_a_difference_that_is_not_there() -> None:
    rng = np.random.default_rng(0)
    small = 0
    for seed in range(100):
        base = simulate(rng, 60, 2, 0.7)
        (row,) = paired_comparison(DOMAIN, worsen(rng, base, 0.3), worsen(rng, base, 0.3), ["accuracy"], 200, seed)
        small += row["p"] < 0.1
    assert small <= 20  # 10 expected, three standard errors above


def test_pairing_is_sharper_than_two_intervals() -> None:
    rng = np.random.default_rng(1)
    b = simulate(rng, 100, 3, 0.7, spread=0.25)
    a = worsen(rng, b, 0.08)
    (row,) = paired_comparison(DOMAIN, a, b, ["accuracy"])
    low, high = bootstrap_intervals(DOMAIN, b)["accuracy"]
    assert row["high"] - row["low"] < 0.7 * (high - low)


def test_comparison_of_a_model_with_itself_in_another_order() -> None:
    predictions = simulate(np.random.default_rng(0), 30, 2, 0.7)
    rows = paired_comparison(DOMAIN, predictions, predictions[::-1], ["macro_f1", "step_query", "ece"])
    # Undefined metrics are left out.
    assert rows == [{"metric": "macro_f1", "difference": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b[1:], "1 pairs have a prediction by only one model, e.g. '0-0'"),
        (lambda b: [*b, replace(b[0], pair_id="new")], "only one model, e.g. 'new'"),
        (lambda b: [*b, b[0]], "pair '0-0' occurs 2 times"),
        (lambda b: [replace(b[0], query_id="other"), *b[1:]], "another query or label"),
        (lambda b: [replace(b[0], label="4" if b[0].label != "4" else "1"), *b[1:]], "another query or label"),
    ],
)
def test_different_pairs_are_refused(change, message: str) -> None:
    a = simulate(np.random.default_rng(0), 4, 2, 0.7)
    with pytest.raises(UserError, match=message):
        paired_comparison(DOMAIN, a, change(a), ["accuracy"])


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_seed_interval_is_the_t_interval(values: list[float]) -> None:
    mean, low, high = seed_interval(values, 0.9)
    assert mean == pytest.approx(sum(values) / len(values))
    if np.ptp(values) > 1e-6:
        reference = stats.ttest_1samp(values, 0).confidence_interval(0.9)
        assert (low, high) == pytest.approx((reference.low, reference.high))
    else:
        assert (low, high) == pytest.approx((mean, mean), abs=1e-5)


def test_seeds_in_pairs() -> None:
    a, b = [0.70, 0.80, 0.75], [0.74, 0.83, 0.80]
    reference = stats.ttest_rel(b, a).confidence_interval(0.95)
    assert paired_seed_interval(a, b) == pytest.approx((0.04, reference.low, reference.high))
    mean, low, high = seed_interval([0.5])
    assert mean == 0.5 and math.isnan(low) and math.isnan(high)
    with pytest.raises(UserError, match="cannot pair 3 seeds with 2"):
        paired_seed_interval(a, b[:2])
    with pytest.raises(UserError, match="no seeds"):
        seed_interval([])
