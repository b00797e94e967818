"""Difficulty from rollouts, against counts written out; every pair gets a decision."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from taosr_she.domain.pair import Pair, Product
from taosr_she.select.config import DifficultyConfig
from taosr_she.select.difficulty import REASONS, decide, difficulty, path_entropy
from taosr_she.select.rollouts import PairRollouts

NAN = float("nan")


def rollouts(outcomes: list[float], verdicts: list[tuple[float, ...]] | None = None, paths: str = "") -> PairRollouts:
    n = len(outcomes)
    paths = paths or "a" * n
    return PairRollouts(tuple(outcomes), tuple(verdicts or [(NAN, NAN)] * n), tuple((p, "x") for p in paths), 9 * n)


def pair(pair_id: str, label: str = "4") -> Pair:
    return Pair(pair_id, f"q{pair_id}", "red boots", Product("boots"), label)


def test_rates_and_signals() -> None:
    d = difficulty(rollouts([1, 0, 1, 1], [(1.0, NAN), (0.0, NAN), (0.6, NAN), (NAN, NAN)], "aabc"))
    assert d.pass_rate == 0.75 and d.step_rates[0] == pytest.approx(2 / 3) and math.isnan(d.step_rates[1])
    assert d.outcome_signal and d.step_signal
    same = difficulty(rollouts([1, 1], [(1.0, 0.2), (0.9, 0.0)]))
    assert not same.outcome_signal and not same.step_signal and same.path_entropy == 0


@given(st.text("abc", min_size=1, max_size=12))
def test_path_entropy_is_that_of_the_counts(paths: str) -> None:
    expected = 0.0
    for path in set(paths):
        p = sum(q == path for q in paths) / len(paths)
        expected -= p * math.log(p)
    found = path_entropy(rollouts([1.0] * len(paths), paths=paths))
    assert found == pytest.approx(expected, abs=1e-12) and 0 <= found <= math.log(len(paths)) + 1e-12


def test_band_and_what_its_steps_can_teach() -> None:
    table = {
        "easy": rollouts([1, 1]), "hard": rollouts([0, 0]), "middle": rollouts([1, 0]),
        "steps": rollouts([0, 0], [(1.0, 1.0), (0.0, 1.0)]),
    }  # fmt: skip
    pairs = [pair(name) for name in table]
    reasons = {d.pair_id: d.reason for d in decide(pairs, table, DifficultyConfig())}
    assert reasons == {"easy": "too easy", "hard": "too hard", "middle": None, "steps": None}
    strict = decide(pairs, table, DifficultyConfig(keep_step_disagreement=False))
    assert strict[3].reason == "too hard"


def test_in_a_band_to_the_ends_signal_counts() -> None:
    table = {"all": rollouts([1, 1], [(1.0, 1.0)] * 2), "none": rollouts([0, 0]), "some": rollouts([0, 1])}
    pairs = [pair(name) for name in table]
    for need, expected in ((True, ["no signal", "no signal", None]), (False, [None] * 3)):
        config = DifficultyConfig(pass_low=0, pass_high=1, need_signal=need)
        assert [d.reason for d in decide(pairs, table, config)] == expected


@given(st.lists(st.tuples(st.sampled_from("1234"), st.integers(0, 4)), min_size=1, max_size=40), st.floats(1, 3))
def test_no_label_has_more_than_its_share_and_the_middle_stays(rows: list[tuple[str, int]], balance: float) -> None:
    pairs = [pair(str(i), label) for i, (label, _) in enumerate(rows)]
    table = {str(i): rollouts([1.0] * right + [0.0] * (4 - right)) for i, (_, right) in enumerate(rows)}
    config = DifficultyConfig(pass_low=0, pass_high=1, balance=balance)
    decisions = decide(pairs, table, config)
    assert all(d.reason in (None, *REASONS) for d in decisions)
    rarest = min(sum(p.label == label for p in pairs) for label in {p.label for p in pairs})
    for label in {p.label for p in pairs}:
        own = [d for p, d in zip(pairs, decisions, strict=True) if p.label == label]
        kept = [abs(d.difficulty.pass_rate - 0.5) for d in own if d.reason is None and d.difficulty]
        gone = [abs(d.difficulty.pass_rate - 0.5) for d in own if d.reason and d.difficulty]
        assert len(kept) == min(len(own), math.floor(balance * rarest))
        assert not gone or max(kept) <= min(gone)


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValidationError, match="pass_low"):
        DifficultyConfig(pass_low=0.9, pass_high=0.1)
    with pytest.raises(ValidationError, match="reduce the rarest"):
        DifficultyConfig(balance=0.5)
    with pytest.raises(ValidationError, match="temperature 0"):
        DifficultyConfig.model_validate({"sampling": {"temperature": 0}})
