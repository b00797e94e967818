"""Corruptions: each makes exactly the named step wrong, by the market's truth."""

from random import Random

import pytest

from taosr_she.data.market.market import MarketConfig, generate_market
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.domain.response import parse_response, render_response
from taosr_she.examine.corruptions import CORRUPTIONS, Words, corrupt
from taosr_she.examine.verifier import Verifier

DOMAIN = load_domain("taobao")
MARKET = generate_market(MarketConfig(demonstration_pairs=0, training_pairs=0, development_pairs=400, test_pairs=0), 3)
TRUTHS = {p.pair_id: MARKET.cases[p.pair_id].truth.steps for p in MARKET.pairs["development"]}
WORDS = Words.collect(DOMAIN, TRUTHS.values())
STEP = {
    "dropped_constraint": {"query"}, "lost_qualifier": {"query", "product"}, "invented_attribute": {"product"},
    "wrong_value": {"query", "product"}, "wrong_relation": {"category"}, "wrong_status": {"attributes"},
    "rule_misapplied": {"label"}, "label_not_following": {"label"},
}  # fmt: skip


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_makes_exactly_the_named_step_wrong(kind: str) -> None:
    verifier = Verifier(DOMAIN, MARKET.truth("development"))
    rng, hit = Random(0), set()
    for pair in MARKET.pairs["development"]:
        right = TRUTHS[pair.pair_id]
        before = dict(right)
        result = corrupt(kind, right, rng, WORDS)
        assert right == before
        if result is None:
            continue
        steps, wrong = result
        response = parse_response(DOMAIN, render_response(DOMAIN, steps))
        assert response.well_formed
        verdicts = verifier.examine([pair], [response]).values[0]
        assert {k for k, v in zip(DOMAIN.step_keys, verdicts, strict=True) if v == 0} == set(wrong)
        assert len(wrong) == 1
        hit.add(wrong[0])
    assert hit == STEP[kind]


def steps(**changes: str) -> dict[str, str]:
    right = {
        "query": "category: boots; material: not leather", "product": "category: boots; brand: norvik lite; price: 20",
        "category": "same", "attributes": "material: unknown", "label": "3",
    }  # fmt: skip
    return right | changes


def test_what_each_kind_does_to_the_text() -> None:
    rng = Random(1)
    assert corrupt("dropped_constraint", steps(), rng, WORDS) == (steps(query="category: boots"), ("query",))
    lost = {corrupt("lost_qualifier", steps(), Random(i), WORDS)[1] for i in range(20)}
    assert lost == {("query",), ("product",)}
    no_brand = steps(product="category: boots")
    assert corrupt("lost_qualifier", no_brand, rng, WORDS)[0]["query"] == "category: boots; material: leather"
    changed = corrupt("invented_attribute", no_brand, rng, WORDS)[0]["product"]
    assert changed.startswith("category: boots; ") and changed.count(":") == 2
    assert corrupt("rule_misapplied", steps(label="3 R13"), rng, WORDS)[0]["label"].split()[0] in ("4", "2")
    assert corrupt("rule_misapplied", steps(label="3 R13"), rng, WORDS)[0]["label"].split()[1] != "R13"
    assert corrupt("label_not_following", steps(), rng, WORDS)[0]["label"] in ("1", "2")


def test_none_where_it_does_not_apply() -> None:
    bare = steps(query="category: boots", product="category: boots", attributes="none", label="nonsense")
    for kind in ("dropped_constraint", "lost_qualifier", "wrong_status", "rule_misapplied", "label_not_following"):
        assert corrupt(kind, bare, Random(0), WORDS) is None


def test_free_form_steps_of_other_domains() -> None:
    domain: Domain = load_domain("esci")
    right = {
        "query": "red shoe",
        "product": "blue shoe",
        "category": "same",
        "attributes": "red: missing",
        "label": "S",
    }
    words = Words.collect(domain, [right, {**right, "query": "green hat", "product": "hat"}])
    for kind in set(CORRUPTIONS) - {"lost_qualifier"}:
        changed, wrong = next(r for i in range(50) if (r := corrupt(kind, right, Random(i), words)))
        assert wrong and all(changed[key] != right[key] for key in wrong)
