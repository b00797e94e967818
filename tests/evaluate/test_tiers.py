"""Metrics over tiers against counts by hand, and the threshold against all of them tried."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import load_domain
from taosr_she.evaluate.choice import THRESHOLDS, DecisionConfig, choose_tier_threshold
from taosr_she.evaluate.metrics import compute_metrics
from taosr_she.evaluate.prediction import Prediction
from taosr_she.evaluate.results import model_results
from taosr_she.evaluate.tiers import TIER_METRIC, as_tiers, tier_results, with_tiers
from taosr_she.judge.decision import WRITTEN, Decision, decide_tier

DOMAIN = load_domain("taobao")
TIER = {"4": "good", "3": "good", "2": "mid", "1": "bad"}


def answer(n: int, label: str, predicted: str | None, *probs: float) -> Prediction:
    return Prediction(f"p{n}", f"q{n}", label, predicted, probs or None, verdicts=(math.nan,) * len(DOMAIN.steps))


PREDICTIONS = [
    answer(0, "4", "3", 0.4, 0.4, 0.1, 0.1), answer(1, "3", "2", 0.1, 0.35, 0.5, 0.05),
    answer(2, "2", "2", 0.05, 0.05, 0.6, 0.3), answer(3, "1", "2", 0.1, 0.1, 0.2, 0.6),
    answer(4, "1", None, 0.1, 0.1, 0.2, 0.6), answer(5, "2", "3"),
]  # fmt: skip


def test_tiers_by_hand() -> None:
    coarse, found = as_tiers(DOMAIN, PREDICTIONS, WRITTEN)
    assert coarse.codes == ("good", "mid", "bad") and coarse.good_codes == {"good"}
    assert [p.label for p in found] == ["good", "good", "mid", "bad", "bad", "mid"]
    assert [p.predicted for p in found] == ["good", "mid", "mid", "bad", None, "good"]
    assert found[0].probs == pytest.approx((0.8, 0.1, 0.1)) and found[5].probs is None
    assert as_tiers(DOMAIN, PREDICTIONS, Decision(tier_threshold=0.4))[1][1].predicted == "good"
    results = tier_results(DOMAIN, PREDICTIONS, WRITTEN, 100, 0)
    # good: 1 hit of 2 true, 2 given; mid: 1 of 2, 2; bad: 1 of 2, 1.
    assert results["metrics"]["macro_f1"] == pytest.approx((2 / 4 + 2 / 4 + 2 / 3) / 3)
    assert results["metrics"]["accuracy"] == pytest.approx(3 / 6)
    assert results["confusion"] == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]]
    assert (results["threshold"], results["names"]) == (0.5, ["good", "mid", "bad"])
    low, high = results["intervals"]["macro_f1"]
    assert 0 <= low <= results["metrics"]["macro_f1"] <= high <= 1


def test_the_results_of_the_grades_are_as_they_were() -> None:
    before = model_results(DOMAIN, PREDICTIONS, 100, 0)
    after = with_tiers(model_results(DOMAIN, PREDICTIONS, 100, 0), tier_results(DOMAIN, PREDICTIONS, WRITTEN, 100, 0))
    assert after["metrics"].pop(TIER_METRIC) == after.pop("tiers")["metrics"]["macro_f1"]
    del after["intervals"][TIER_METRIC]
    assert str(after) == str(before)  # NaN is not equal to itself
    bare = DOMAIN.with_overrides({"tiers": {}})
    assert with_tiers(before, tier_results(bare, PREDICTIONS, WRITTEN, 100, 0)) is before


@given(st.lists(st.tuples(st.sampled_from("4321"), st.lists(st.integers(1, 20), min_size=4, max_size=4)), min_size=3))
def test_the_chosen_threshold_is_near_the_best_of_all(rows: list[tuple[str, list[int]]]) -> None:
    shares = [[w / sum(weights) for w in weights] for _, weights in rows]
    known = [answer(n, label, "4", *p) for n, ((label, _), p) in enumerate(zip(rows, shares, strict=True))]
    decision, scores = choose_tier_threshold(DOMAIN, known, WRITTEN, DecisionConfig(tier_threshold="auto"))
    by_hand = {}
    for t in THRESHOLDS:
        given_ = [
            decide_tier(Decision(tier_threshold=t), DOMAIN, "4", dict(zip("4321", p, strict=True))) for p in shares
        ]
        of = {
            name: [(TIER[p.label or ""] == name, g == name) for p, g in zip(known, given_, strict=True)]
            for name in DOMAIN.tiers
        }
        f1 = [
            2 * sum(a and b for a, b in r) / (sum(a for a, _ in r) + sum(b for _, b in r))
            for r in of.values()
            if any(a for a, _ in r)
        ]
        by_hand[f"{t:g}"] = sum(f1) / len(f1)
    assert scores == pytest.approx(by_hand) and decision.rule == "text"
    best = max(by_hand, key=by_hand.__getitem__)
    assert decision.tier_threshold is not None
    nearer = abs(decision.tier_threshold - 0.5) <= abs(float(best) - 0.5) + 1e-9
    assert nearer or by_hand[f"{decision.tier_threshold:g}"] == by_hand[best]


def test_a_clear_gain_moves_the_threshold_and_none_leaves_the_median() -> None:
    timid = [answer(n, "3", "2", 0.1, 0.25, 0.55, 0.1) for n in range(20)]
    timid += [answer(20 + n, "2", "2", 0.05, 0.05, 0.8, 0.1) for n in range(20)]
    decision, scores = choose_tier_threshold(DOMAIN, timid, WRITTEN, DecisionConfig(tier_threshold="auto"))
    assert decision.tier_threshold == 0.35 and scores["0.35"] == 1.0 > scores["0.5"]
    sure = [replace(p, probs=(0.0, 0.9, 0.1, 0.0) if p.label == "3" else (0.0, 0.1, 0.9, 0.0)) for p in timid]
    assert choose_tier_threshold(DOMAIN, sure, WRITTEN, DecisionConfig(tier_threshold="auto"))[0].tier_threshold == 0.5
    fixed = DecisionConfig(tier_threshold=0.3)
    assert choose_tier_threshold(DOMAIN, [], WRITTEN, fixed) == (Decision(tier_threshold=0.3), {})
    assert choose_tier_threshold(DOMAIN, [], WRITTEN, DecisionConfig()) == (WRITTEN, {})


def test_what_is_asked_for() -> None:
    assert [DecisionConfig(tier_threshold=t).open for t in (None, 0.3, "auto")] == [False, False, True]
    assert [DecisionConfig(tier_threshold=t).saved for t in (None, 0.3, "auto")] == [False, True, True]
    assert "tier_threshold" not in DecisionConfig(rule="auto").computed()
    assert compute_metrics(DOMAIN, PREDICTIONS).keys() >= {"macro_f1"} and TIER_METRIC not in compute_metrics(
        DOMAIN, PREDICTIONS
    )
    with pytest.raises(ValidationError, match="lies above 0 and is at most 1, or is auto, not 0"):
        DecisionConfig(tier_threshold=0.0)
    with pytest.raises(UserError, match="there are none"):
        choose_tier_threshold(DOMAIN, [], WRITTEN, DecisionConfig(tier_threshold="auto"))
