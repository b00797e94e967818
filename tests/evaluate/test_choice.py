"""The rule that is best on development pairs."""

import math
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import load_domain
from taosr_she.evaluate.choice import STRENGTHS, THRESHOLDS, DecisionConfig, choose_decision, decided
from taosr_she.evaluate.intervals import resampled_metrics
from taosr_she.evaluate.metrics import compute_metrics
from taosr_she.evaluate.prediction import Prediction
from taosr_she.judge.decision import WRITTEN, Decision, decide

DOMAIN = load_domain("taobao")
PRIOR = {"4": 0.7, "3": 0.1, "2": 0.1, "1": 0.1}


def answer(label: str, predicted: str | None, *probs: float) -> Prediction:
    return Prediction("p", "q", label, predicted, probs=probs or None, verdicts=(math.nan,) * len(DOMAIN.steps))


def spread_over_queries(ps: list[Prediction]) -> list[Prediction]:
    return [replace(p, pair_id=f"p{i}", query_id=f"q{i}") for i, p in enumerate(ps)]


UNSURE = [
    *[answer("4", "4", 0.8, 0.1, 0.05, 0.05)] * 6,
    *[answer("3", "4", 0.5, 0.4, 0.05, 0.05)] * 2,
    *[answer("1", "4", 0.5, 0.05, 0.05, 0.4)] * 2,
]  # fmt: skip
"""A model that writes the commonest label throughout, and whose probabilities know more."""


def test_auto_takes_the_best_of_all_rules_and_says_what_each_reached() -> None:
    chosen, scores = choose_decision(DOMAIN, UNSURE, PRIOR, DecisionConfig(rule="auto"))
    assert chosen.rule == "prior" and chosen.prior == PRIOR and scores[chosen.name] == 1.0
    assert len(scores) == 2 + 2 * len(STRENGTHS) + len(THRESHOLDS) and scores["text"] == scores["argmax"] < 0.3
    by_hand = {
        s: compute_metrics(DOMAIN, [
            replace(p, predicted=decide(Decision(rule="prior", strength=s, prior=PRIOR), DOMAIN.codes, p.predicted,
                                        dict(zip(DOMAIN.codes, p.probs or (), strict=True))))
            for p in UNSURE
        ])["macro_f1"]
        for s in STRENGTHS
    }  # fmt: skip
    assert {s: scores[f"prior {s:g}"] for s in STRENGTHS} == by_hand
    assert chosen.strength == min(s for s in STRENGTHS if by_hand[s] == 1.0), "of equals the first"


def test_a_gain_within_one_standard_error_is_no_reason_to_leave_the_text() -> None:
    """One pair in forty, alone in its query, is right by argmax only: the difference is as likely chance."""
    same = [answer("4", "4", 0.7, 0.1, 0.1, 0.1), answer("1", "1", 0.1, 0.1, 0.1, 0.7)] * 20
    odd = answer("1", "4", 0.3, 0.1, 0.1, 0.5)
    chosen, scores = choose_decision(DOMAIN, spread_over_queries([*same, odd]), PRIOR, DecisionConfig(rule="auto"))
    assert scores["argmax"] == 1.0 > scores["text"] and chosen == WRITTEN
    chosen, scores = choose_decision(
        DOMAIN, spread_over_queries([*same, *[odd] * 9]), PRIOR, DecisionConfig(rule="auto")
    )
    assert chosen.rule == "argmax", "nine of them are not"

    # By hand: the spread of the paired differences over the same resamples.
    ps = spread_over_queries([*same, *[odd] * 9])
    text, argmax = (
        resampled_metrics(DOMAIN, decided(DOMAIN, ps, d), 200, 0)["macro_f1"]
        for d in (WRITTEN, Decision(rule="argmax"))
    )
    assert scores["argmax"] - scores["text"] > np.std(argmax - text) > 0


def test_nothing_better_stays_as_written() -> None:
    sure = [replace(p, predicted=p.label) for p in UNSURE]
    assert choose_decision(DOMAIN, sure, PRIOR, DecisionConfig(rule="auto"))[0] == WRITTEN


def test_a_fixed_rule_needs_no_pairs_and_an_open_one_does() -> None:
    assert choose_decision(DOMAIN, [], PRIOR, DecisionConfig(rule="tiers", threshold=0.3)) == (
        Decision(rule="tiers", threshold=0.3), {},
    )  # fmt: skip
    assert choose_decision(DOMAIN, [], PRIOR, DecisionConfig())[0] == WRITTEN
    with pytest.raises(UserError, match="chosen on development pairs, and there are none"):
        choose_decision(DOMAIN, [], PRIOR, DecisionConfig(rule="prior"))
    rules = ("text", "argmax", "prior", "own_prior", "tiers", "auto")
    assert [DecisionConfig(rule=r).open for r in rules] == [False, False, *[True] * 4]
    with pytest.raises(ValidationError, match="`threshold` belongs to rule `tiers`"):
        DecisionConfig(rule="auto", threshold=0.5)


def test_without_labels_in_training_there_is_no_prior_to_divide_by() -> None:
    unknown = dict.fromkeys(DOMAIN.codes, 0.0)
    assert {d.rule for d in DecisionConfig(rule="auto").candidates(unknown, {})} == {"text", "argmax", "tiers"}
    with pytest.raises(UserError, match="but no training pair has a label"):
        choose_decision(DOMAIN, UNSURE, unknown, DecisionConfig(rule="prior"))


def test_the_models_own_prior_is_its_mean_on_development_pairs_and_brings_back_what_it_gives_too_little() -> None:
    """Half of the pairs are a 3 of which the model is only a little more certain than elsewhere: its training, not
    the pairs, made it rare, so the shares of labels among pairs do not help."""
    pairs = [answer("4", "4", 0.9, 0.06, 0.02, 0.02), answer("3", "4", 0.7, 0.26, 0.02, 0.02)] * 20
    even = {"4": 0.5, "3": 0.5, "2": 0.0, "1": 0.0}
    chosen, _ = choose_decision(DOMAIN, spread_over_queries(pairs), even, DecisionConfig(rule="own_prior", strength=1))
    assert chosen.rule == "own_prior" and chosen.prior == pytest.approx({"4": 0.8, "3": 0.16, "2": 0.02, "1": 0.02})
    # 0.9 / 0.8 > 0.06 / 0.16, and 0.7 / 0.8 < 0.26 / 0.16; 2 and 1 stay below because their quotient is 1.
    assert [p.predicted for p in decided(DOMAIN, pairs[:2], chosen)] == ["4", "3"]
    auto, scores = choose_decision(DOMAIN, spread_over_queries(pairs), even, DecisionConfig(rule="auto"))
    assert auto.rule == "own_prior" and scores[auto.name] == 1.0 > max(scores[f"prior {s:g}"] for s in STRENGTHS)
    silent = [replace(p, probs=None) for p in pairs]
    for without in ([], silent):
        with pytest.raises(UserError, match=r"`own_prior` divides by mean label probabilities .* there are none"):
            choose_decision(DOMAIN, without, even, DecisionConfig(rule="own_prior", strength=1))


def test_deciding_leaves_malformed_answers_and_all_else_alone() -> None:
    malformed = replace(answer("4", None, 0.1, 0.2, 0.3, 0.4), reason="no label", response="[query]")
    silent = answer("3", "2")
    found = decided(DOMAIN, [malformed, silent, UNSURE[0]], Decision(rule="tiers", threshold=0.95))
    assert found[:2] == [malformed, silent]
    assert found[2] == replace(UNSURE[0], predicted="2")
