"""Training examples of the GSRM: exact contents."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from taosr_she.data.demonstration import Demonstration
from taosr_she.data.market.market import Market
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.domain.pair import Annotation, Pair, Product
from taosr_she.domain.response import parse_response, render_response
from taosr_she.examine.gsrm import GSRM, GSRMConfig
from taosr_she.examine.gsrm_data import (
    Examined,
    clean_demonstrations,
    clean_references,
    corrupt_to_balance,
    examined_rollouts,
    gsrm_examples,
    right_conclusions,
    shares_wrong,
)
from taosr_she.examine.verifier import Verifier
from taosr_she.model.example import IGNORE, answer
from taosr_she.model.policy import Policy

NAN = math.nan


@pytest.fixture
def right(market: Market, domain: Domain) -> dict[tuple[str, str], str]:
    return right_conclusions(domain, market.pairs["development"], market.truth("development"))


def response_of(market: Market, domain: Domain, pair: Pair, **changes: str) -> str:
    return render_response(domain, market.cases[pair.pair_id].truth.steps | changes)


def examined(market: Market, domain: Domain, verdicts: tuple[float, ...]) -> Examined:
    pair = market.pairs["development"][0]
    steps = market.cases[pair.pair_id].truth.steps
    response = parse_response(domain, response_of(market, domain, pair))
    return Examined(pair, response, verdicts, tuple(steps[key] for key in domain.step_keys), "clean")


def decoded(policy: Policy, ids: list[int]) -> str:
    return policy.tokenizer.decode(ids)


def test_right_conclusions_from_references_corrections_and_labels(domain: Domain) -> None:
    pair = Pair("p", "q", "boots", None, label="4")
    notes = [
        Annotation("p", "query", "category: boots"),
        Annotation("p", "query", "nonsense", verdict="wrong", correction="category: tent", response_id="r"),
        Annotation("p", "category", "near", verdict="wrong", correction="same", response_id="r"),
        Annotation("p", "product", "category: boots", response_id="r"),
    ]
    assert right_conclusions(domain, [pair], notes) == {
        ("p", "query"): "category: boots", ("p", "category"): "same", ("p", "label"): "4",
    }  # fmt: skip


def test_rollouts_keep_known_verdicts(market: Market, domain: Domain, right: dict[tuple[str, str], str]) -> None:
    pairs = market.pairs["development"][:2]
    responses = [parse_response(domain, response_of(market, domain, p, category="nonsense")) for p in pairs]
    truth = [a for a in market.truth("development") if a.pair_id == pairs[0].pair_id and a.step == "category"]
    unlabelled = [Pair(p.pair_id, p.query_id, p.query, p.product) for p in pairs]
    (rollout,) = examined_rollouts(
        domain, unlabelled, responses, Verifier(domain, truth).examine(unlabelled, responses), right
    )
    np.testing.assert_array_equal(rollout.verdicts, [NAN, NAN, 0, NAN, NAN])
    assert rollout.conclusions[2] == right[pairs[0].pair_id, "category"] and rollout.kind == "rollout"


def test_only_demonstrations_with_the_human_label_are_clean(market: Market, domain: Domain) -> None:
    pair = market.pairs["development"][0]
    wrong = "1" if pair.label != "1" else "2"
    texts = [response_of(market, domain, pair), response_of(market, domain, pair, label=wrong), "[label] 4"]
    demonstrations = [Demonstration(pair.pair_id, text, "t") for text in texts]
    assert [c.response.text for c in clean_demonstrations(domain, [pair], demonstrations)] == texts[:1]


def test_corruptions_balance_every_step(market: Market, domain: Domain, right: dict[tuple[str, str], str]) -> None:
    clean = clean_references(domain, market.pairs["development"], right)
    assert len(clean) == len(market.pairs["development"])
    lopsided = [examined(market, domain, (0.0, 1.0, 1.0, 1.0, 1.0))] * 60
    made = corrupt_to_balance(domain, clean, lopsided, 400, seed=1)
    assert made == corrupt_to_balance(domain, clean, lopsided, 400, seed=1)
    shares = shares_wrong(domain, [*lopsided, *made])
    # Not every pair has an attribute to corrupt.
    assert all(0.4 < share < 0.55 for key, share in shares.items() if key != "attributes")
    assert 0.2 < shares["attributes"] < 0.55
    assert 0.15 < sum(m.kind == "clean" for m in made) / len(made) < 0.4
    verdicts = Verifier(domain, market.truth("development")).examine(
        [m.pair for m in made], [m.response for m in made]
    ).values  # fmt: skip
    np.testing.assert_array_equal(verdicts, [m.verdicts for m in made])


READ = GSRMConfig(closed_steps="read")


def test_examples_where_closed_steps_are_compared(
    market: Market, domain: Domain, make_gsrm: Callable[..., Policy]
) -> None:
    """Nothing but the reasoning is learnt, once a pair, and only where people said all of it."""
    policy, one = make_gsrm(), examined(market, domain, (1.0, 0.0, 1.0, NAN, 1.0))
    partly = replace(one, conclusions=(None, *one.conclusions[1:]))
    for several in ([one, one], [partly, one], [replace(one, by_people=False), one]):
        (reasoning,) = gsrm_examples(policy, domain, several, GSRMConfig())
        prompt = policy.encode_prompt(domain, one.pair)
        assert reasoning == answer(prompt, policy.encode_response(one.response.text))


def test_examples_where_steps_are_read(market: Market, domain: Domain, make_gsrm: Callable[..., Policy]) -> None:
    policy, one = make_gsrm(), examined(market, domain, (1.0, 0.0, 1.0, NAN, 1.0))
    prompt = policy.encode_prompt(domain, one.pair)
    reasoning, check = gsrm_examples(policy, domain, [one], READ)
    own = policy.encode_response(one.response.text)
    assert reasoning == answer(prompt, own)
    # What is trained is what is read: the GSRM's own check holds the same ids.
    gsrm = GSRM(policy, domain, READ)
    whole = gsrm.form.check(gsrm._key(one.pair, one.response)[1])
    assert check.ids == prompt + own[:-1] + whole.ids
    learnt = [(place, label) for place, label in enumerate(check.labels) if label != IGNORE]
    start = len(check.ids) - len(whole.ids)
    words = {1.0: gsrm.form.correct[0], 0.0: gsrm.form.wrong[0]}
    assert learnt == [(start + whole.slots[k] + 1, words[v]) for k, v in enumerate(one.verdicts) if not math.isnan(v)]
    for place, label in learnt:
        assert decoded(policy, [*check.ids[:place], label]).endswith(("\ncorrect", "\nwrong"))


def test_a_teachers_reasoning_is_compared_with_but_not_learnt(
    market: Market, domain: Domain, make_gsrm: Callable[..., Policy]
) -> None:
    policy, one = make_gsrm(), examined(market, domain, (1.0, 0.0, 1.0, NAN, 1.0))
    _, check = gsrm_examples(policy, domain, [one], READ)
    assert gsrm_examples(policy, domain, [replace(one, by_people=False)], READ) == [check]


def test_examples_without_critiques(market: Market, domain: Domain, make_gsrm: Callable[..., Policy]) -> None:
    policy, one = make_gsrm(), examined(market, domain, (1.0,) * 5)
    (check,) = gsrm_examples(policy, domain, [one], GSRMConfig(critique=False))
    prompt = policy.encode_prompt(domain, one.pair)
    assert check.ids[: len(prompt)] == prompt
    assert decoded(policy, check.ids).count("\ncorrect") == 5 == sum(label != IGNORE for label in check.labels)
    unknown = examined(market, domain, (NAN,) * 5)
    assert gsrm_examples(policy, domain, [unknown], GSRMConfig(critique=False)) == []


def test_a_reference_that_knows_a_part_is_no_right_conclusion() -> None:
    domain = load_domain("chorus")
    pair = Pair("p1", "q1", "red nike shoe", Product("Shoe"), label="3")
    said = [Annotation("p1", "attributes", text) for text in ("brand: match; color: ?", "brand: match; ?")]
    assert right_conclusions(domain, [pair], said) == {("p1", "label"): "3"}
    whole = [*said, Annotation("p1", "attributes", "brand: match; color: match")]
    assert right_conclusions(domain, [pair], whole)["p1", "attributes"] == "brand: match; color: match"
