import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.bench.paper.curves import mean_curve, reached
from taosr_she.bench.paper.results import value_at
from taosr_she.bench.paper.tuning import next_rate
from taosr_she.bench.statistics import holm, over_seeds, two_level


def test_seeds_and_queries_both_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    alike = rng.normal(0.5, 0.02, (5, 4000))
    apart = alike + np.array([-0.1, -0.05, 0.0, 0.05, 0.1])[:, None]
    near, far = (over_seeds([0.5] * 5, drawn) for drawn in (alike, apart))
    # One resample of each of 5 seeds, averaged: standard error 0.02 / sqrt(5); the seeds add their own spread.
    assert near["high"] - near["low"] == pytest.approx(2 * 1.96 * 0.02 / 5**0.5, rel=0.1)
    spread = np.hypot(0.02, np.std([-0.1, -0.05, 0, 0.05, 0.1])) / 5**0.5
    assert far["high"] - far["low"] == pytest.approx(2 * 1.96 * spread, rel=0.1)


def test_p_is_small_where_every_seed_is_above_zero_and_large_where_they_differ() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.01, (5, 2000))
    assert two_level(noise + 0.1)[1] == pytest.approx(2 / 2001)
    assert two_level(noise)[1] > 0.05
    assert two_level(noise + np.array([-0.1, 0.1, -0.1, 0.1, 0.0])[:, None])[1] > 0.3


@given(st.lists(st.floats(0.0001, 1), min_size=1, max_size=8))
def test_holm_is_the_formula(p: list[float]) -> None:
    """The adjusted p of a hypothesis: the largest of (m - j) times the j-th smallest p, over all p up to its own."""
    order = sorted(p)
    for value, adjusted in zip(p, holm(p), strict=True):
        expected = max((len(p) - j) * q for j, q in enumerate(order) if q <= value)
        assert adjusted == pytest.approx(min(1.0, expected))


CURVE = [
    {"step": 0, "tokens": 0.0, "seconds": 0.0, "macro_f1": 0.5},
    {"step": 5, "tokens": 100.0, "seconds": 10.0, "macro_f1": 0.7},
    {"step": 10, "tokens": 200.0, "seconds": 30.0, "macro_f1": 0.6},
]


def test_where_a_curve_first_is_at_a_level() -> None:
    assert reached(CURVE, 0.6) == {"tokens": pytest.approx(50), "seconds": pytest.approx(5)}
    assert reached(CURVE, 0.4) == {"tokens": 0, "seconds": 0}
    assert reached(CURVE, 0.8) == {"tokens": None, "seconds": None}


def test_a_curve_at_a_time() -> None:
    assert value_at(CURVE, "seconds", 5) == pytest.approx(0.6)
    assert value_at(CURVE, "seconds", 99) == pytest.approx(0.6)
    assert value_at(CURVE, "seconds", -1) is None


def test_the_mean_curve_ends_with_the_shortest() -> None:
    mean = mean_curve([CURVE, [{**p, "macro_f1": p["macro_f1"] + 0.2} for p in CURVE[:2]]])
    assert [p["macro_f1"] for p in mean] == pytest.approx([0.6, 0.8]) and mean[1]["tokens"] == 100


def test_the_third_learning_rate_lies_beyond_the_better_one() -> None:
    def tried(*scores: float) -> list[dict]:
        rates = (1e-4, 2e-4)
        return [{"settings": {"learning_rate": r}, "macro_f1": s} for r, s in zip(rates, scores, strict=True)]

    assert next_rate(tried(0.6, 0.5)) == pytest.approx(5e-5)
    assert next_rate(tried(0.5, 0.6)) == pytest.approx(4e-4)
