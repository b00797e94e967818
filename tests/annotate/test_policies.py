"""Which responses get into the queue, and in which order."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from annotation_page import DOMAIN

from taosr_she.annotate.policies import (
    Candidates,
    at_random,
    check_policies,
    choose,
    critical,
    disagreement,
    tail,
    uncertain,
)
from taosr_she.annotate.queue import reference_items, response_items
from taosr_she.base.errors import UserError
from taosr_she.domain.pair import Annotation, Pair, Product
from taosr_she.domain.response import parse_response

RNG = Random(0)
NAN = float("nan")


def text(category: str = "same", label: str = "4") -> str:
    before = f"[query] category: boots\n[product] category: boots\n[category] {category}\n"
    return f"{before}[attributes] color: match\n[label] {label}"


def candidates(rows: list[tuple[str, str, list[float]]], tags: tuple[str, ...] = ()) -> Candidates:
    """From (pair_id, response, the GSRM's verdicts)."""
    pairs = [Pair(pair_id, pair_id, "boots", Product("boot"), tags=tags) for pair_id, _, _ in rows]
    verdicts = np.array([values for _, _, values in rows])
    responses = [parse_response(DOMAIN, said) for _, said, _ in rows]
    return Candidates(pairs, responses, verdicts, np.ones(verdicts.shape, dtype=bool))


def test_uncertain_is_near_one_half() -> None:
    among = candidates(
        [("a", text(), [1, 1, 0.5, 1, 1]), ("b", text(), [1, 0, 0.75, NAN, 1]), ("c", text(), [NAN] * 5)]
    )
    assert uncertain(DOMAIN, among, RNG).tolist() == [1.0, 0.5, 0.0]
    not_asked = replace(among, asked=np.zeros((3, 5), dtype=bool))
    assert uncertain(DOMAIN, not_asked, RNG).tolist() == [0.0] * 3


def test_disagreement_is_between_the_share_of_the_policys_responses_and_the_gsrm() -> None:
    among = candidates(
        [
            ("a", text("same"), [1, 1, 0.25, 1, 1]), ("a", text("SAME"), [1, 1, 0.25, 1, 1]),
            ("a", text("near"), [1, 1, 0.25, 1, 1]), ("b", text(), [1, 1, 1, 1, NAN]),
        ]
    )  # fmt: skip
    assert disagreement(DOMAIN, among, RNG).round(3).tolist() == [0.417, 0.417, 0.083, 0.0]


def test_critical_steps_are_those_on_which_the_responses_that_reach_them_disagree() -> None:
    among = candidates(
        [
            ("a", text(), [1, 1, 1, 1, 1]), ("a", text(), [1, 1, 0, 1, 0]),  # category
            ("a", text(), [0, 1, 0, 1, 0]),  # query: all reach it, and disagree
            ("b", text(), [0, 1, 1, 1, 1]), ("b", text(), [0, 1, 0, 1, 1]),  # nobody reaches category
        ]
    )  # fmt: skip
    assert critical(DOMAIN, among, RNG).round(2).tolist() == [0.4, 0.4, 0.2, 0.0, 0.0]


def test_shares_hold_at_every_point_of_the_queue_and_nothing_comes_twice() -> None:
    rng = Random(1)
    among = candidates([(f"p{n}", text(), [rng.random() for _ in range(5)]) for n in range(200)], tags=("tail",))
    chosen = choose(DOMAIN, among, {"uncertain": 0.5, "tail": 0.3, "random": 0.2}, 100, seed=1)
    assert len({b for b, _ in chosen}) == 100
    for length in (10, 50, 100):
        names = [name for _, name in chosen[:length]]
        assert (names.count("uncertain"), names.count("tail")) == (length // 2, 3 * length // 10)
    scores = uncertain(DOMAIN, among, RNG)
    taken = [scores[b] for b, name in chosen if name == "uncertain"]
    assert taken == sorted(taken, reverse=True)
    assert chosen == choose(DOMAIN, among, {"uncertain": 0.5, "tail": 0.3, "random": 0.2}, 100, seed=1)
    assert len(choose(DOMAIN, among, {"uncertain": 1.0}, None, seed=1)) == 200
    assert tail(DOMAIN, among, RNG).all() and at_random(DOMAIN, among, RNG).all()


def test_a_policy_that_can_find_nothing_says_what_is_missing() -> None:
    among = candidates([("a", text(), [NAN] * 5)])
    with pytest.raises(UserError, match="--policy critical: no response has a verdict of a GSRM"):
        check_policies(among, {"critical": 1.0})
    with pytest.raises(UserError, match="--policy tail: no pair has the tag 'tail'"):
        check_policies(among, {"tail": 1.0})


def rows(*said: tuple[str, str], **more) -> list[Pair]:
    return [
        Pair(pair_id, pair_id, "boots", Product("boot"), "4", extra={"response": response, **more})
        for pair_id, response in said
    ]


def test_responses_become_items_once_with_what_they_lack_left_out() -> None:
    missing = "[query] category: boots\n[label] 4"
    queued = response_items(
        DOMAIN, rows(("a", text()), ("a", text()), ("b", missing), ("c", "no section")), {"random": 1.0}, double=0.5
    )
    assert (queued.repeated, queued.unreadable) == (1, 1)
    by_pair = {item.pair.pair_id: item for item in queued.items}
    assert by_pair["b"].asked == ("query", "label") and by_pair["b"].steps[1] is None
    assert sorted(item.wanted for item in queued.items) == [1, 2]
    assert all(not item.pair.extra for item in queued.items)
    only = response_items(DOMAIN, rows(("a", text())), {"random": 1.0}, steps=["category"])
    assert only.items[0].asked == ("category",)


def test_gold_is_what_the_gold_file_says_and_never_the_label_of_the_pair() -> None:
    gold = [Annotation("a", "category", "near"), Annotation("b", "category", "same", "correct", response_id="x")]
    queued = response_items(DOMAIN, rows(("a", text()), ("b", text()), ("c", text())), {"random": 1.0}, gold=gold)
    assert {item.pair.pair_id: item.gold for item in queued.items} == {
        "a": {"category": "wrong"}, "b": {"category": "correct"}, "c": {},
    }  # fmt: skip


def test_a_verdict_of_anybody_but_the_gsrm_is_no_verdict_of_the_gsrm() -> None:
    pairs = rows(("a", text()), verdict_query=0.2, source_query="gsrm", verdict_label=1.0, source_label="human")
    assert response_items(DOMAIN, pairs, {"random": 1.0}).items[0].examined == {"query": 0.2}
    with pytest.raises(UserError, match="pair a: verdict_query is 'often', not a number from 0 to 1"):
        response_items(DOMAIN, rows(("a", text()), verdict_query="often"), {"random": 1.0})


def test_references_ask_for_closed_steps_of_each_pair_once() -> None:
    queued = reference_items(DOMAIN, rows(("a", text()), ("a", text("near")), ("b", text())), {"random": 1.0})
    assert len(queued.items) == 2 and queued.repeated == 1
    assert {(item.kind, item.asked, item.steps, item.response_id) for item in queued.items} == {
        ("reference", DOMAIN.step_keys, (), "")
    }
