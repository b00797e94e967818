"""Several chains of reasoning about a pair become one answer."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taosr_she import Judge, Pair
from taosr_she.domain.domain import Domain
from taosr_she.domain.response import Response
from taosr_she.judge.chains import merged, numbers_of
from taosr_she.judge.decision import Decision, save_decision, saved_decision
from taosr_she.judge.pairs import greedy, judge_in_parts, judge_pairs
from taosr_she.model.sampling import Sampling

CODES = ("E", "S", "C", "I")
FOUR = Decision(chains=4)


def chain(label: str | None, reason: str | None = None) -> Response:
    return Response(f"[label] {label}", (), label, reason)


def test_the_mean_of_the_chains_and_the_chain_that_leads_to_its_best_written_label() -> None:
    probs = [np.array(row) for row in ([0.9, 0.1, 0, 0], [0, 0.8, 0.2, 0], [0, 0.7, 0.3, 0])]
    responses = [chain("E"), chain("S"), chain("S")]
    found = merged(responses, probs, [5, 6, 7], CODES)
    assert found.probs == pytest.approx([0.3, 1.6 / 3, 0.5 / 3, 0]) and found.tokens == 18
    assert found.response is responses[1]
    assert merged(responses[:1], probs[:1], [5], CODES) == (responses[0], pytest.approx(probs[0]), 5)


def test_malformed_chains_are_not_shown_beside_a_well_formed_one_and_count_where_they_come_to_a_label() -> None:
    broken, cut, whole = chain("E", "twice"), chain(None, "cut off"), chain("I")
    found = merged([broken, cut, whole], [np.array([1.0, 0, 0, 0]), None, np.array([0, 0, 0.4, 0.6])], [1, 1, 1], CODES)
    assert found.response is whole and found.probs == pytest.approx([0.5, 0, 0.2, 0.3])
    assert merged([cut, cut], [None, None], [1, 2], CODES) == (cut, None, 3)


@given(st.lists(st.lists(st.integers(0, 100_000), max_size=30), min_size=1, max_size=8, unique_by=tuple))
def test_a_prompts_number_is_its_own(prompts: list[list[int]]) -> None:
    numbers = numbers_of(prompts)
    assert numbers == [numbers_of([prompt])[0] for prompt in prompts] and all(0 <= n < 2**32 for n in numbers)
    assert len(set(numbers)) == len(prompts)


def test_the_mean_is_that_of_single_responses_with_the_same_random_numbers(judge: Judge, pairs: list[Pair]) -> None:
    how = Sampling(max_new_tokens=128, temperature=1.5)
    together = judge_pairs(judge.policy, judge.domain, pairs, how, 8, seed=3, decision=FOUR).judgements
    single = judge_pairs(judge.policy, judge.domain, [p for p in pairs for _ in range(4)], how, 8, seed=3).judgements
    shown = set()
    for i, (pair, found) in enumerate(zip(pairs, together, strict=True)):
        four = single[4 * i : 4 * i + 4]
        known = [one.probabilities for one in four if one.probabilities is not None]
        mean = {code: np.mean([row[code] for row in known]) for code in judge.domain.codes}
        assert found.pair_id == pair.pair_id and found.probabilities == pytest.approx(mean, abs=1e-6)
        assert found.tokens == sum(one.tokens for one in four)
        assert found.response in {one.response for one in four}
        assert found.label is None or found.response in {one.response for one in four if one.label == found.label}
        shown |= {one.response for one in four}
    assert len(shown) > len(pairs)  # the chains differ


def test_a_pair_has_the_same_chains_whatever_is_judged_with_it(judge: Judge, pairs: list[Pair]) -> None:
    policy, domain, how = judge.policy, judge.domain, greedy(128)
    whole = judge_pairs(policy, domain, pairs, how, 8, decision=FOUR).judgements
    back = judge_pairs(policy, domain, pairs[::-1], how, 64, decision=FOUR).judgements[::-1]
    parts = [one for part in judge_in_parts(policy, domain, pairs, how, decision=FOUR) for one in part]
    for a, b, c in zip(whole, back, parts, strict=True):
        assert a.response == b.response == c.response and a.label == b.label == c.label
        assert a.probabilities == pytest.approx(b.probabilities, abs=1e-5)


def test_whoever_listens_hears_the_chosen_chain_once(judge: Judge, pairs: list[Pair]) -> None:
    heard: list[tuple[int, str]] = []
    policy, domain = judge.policy, judge.domain

    def hear(i: int, text: str) -> None:
        heard.append((i, text))

    found = judge_pairs(policy, domain, pairs, greedy(128), 8, decision=FOUR, written=hear).judgements
    assert heard == [(i, one.response) for i, one in enumerate(found)]


def test_the_number_of_chains_is_kept_beside_the_weights(domain: Domain, tmp_path: Path) -> None:
    for decision in (FOUR, Decision(rule="tiers", threshold=0.4, chains=2)):
        save_decision(decision, tmp_path)
        assert saved_decision(tmp_path, domain) == decision
    assert decision.name == "tiers 0.4, 2 chains" and FOUR.name == "text, 4 chains"
    assert "chains" not in Decision(rule="argmax").told
