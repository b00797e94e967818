import itertools
import json
import subprocess
import sys
from collections import Counter
from random import Random

import pytest

from taosr_she.base.errors import UserError
from taosr_she.data.market.asks import PRICES, draw_ask, popularity
from taosr_she.data.market.lexicon import KINDS, NEEDS, SPELLINGS
from taosr_she.data.market.market import SPLITS, Market, MarketConfig, generate_market
from taosr_she.data.market.reasoning import Ask, Constraint, Goods, decide, reason, relation, status
from taosr_she.data.market.teacher import BLIND_SPOTS, blind_spots, flawed_reasoning
from taosr_she.domain.domain import load_domain
from taosr_she.domain.response import parse_response, render_response

DOMAIN = load_domain("taobao")


@pytest.fixture(scope="module")
def market() -> Market:
    return generate_market(MarketConfig(test_pairs=2000), seed=5)


def test_every_label_has_a_tenth_in_every_split(market: Market) -> None:
    for split in SPLITS:
        counts = Counter(p.label for p in market.pairs[split])
        assert set(counts) == set(DOMAIN.codes)
        assert min(counts.values()) >= 0.1 * len(market.pairs[split])


def test_same_seed_same_market_in_another_process(market: Market) -> None:
    code = (
        "from taosr_she.data.market.market import *; m = generate_market(MarketConfig(test_pairs=2000), 5);"
        "print(m.pairs['test'][7], m.demonstrations[11], m.annotations[13])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == f"{market.pairs['test'][7]} {market.demonstrations[11]} {market.annotations[13]}"
    assert generate_market(MarketConfig(test_pairs=2000), 6).pairs != market.pairs


def test_splits_share_no_query_text_and_ids_are_unique(market: Market) -> None:
    texts = {split: {p.query for p in market.pairs[split]} for split in SPLITS}
    for a, b in itertools.combinations(SPLITS, 2):
        assert not texts[a] & texts[b]
    ids = [p.pair_id for split in SPLITS for p in market.pairs[split]]
    assert len(ids) == len(set(ids))


def test_every_hard_kind_head_and_tail_occur_in_the_test_split(market: Market) -> None:
    counts = Counter(tag for p in market.pairs["test"] for tag in p.tags)
    wanted = {
        "negation", "alternatives", "need", "knowledge", "budget", "brand", "several_attributes", "question",
        "misspelled", "unseen_words", "sub_brand", "rival_brand", "head", "torso", "tail",
        "relation_same", "relation_near", "relation_accessory", "relation_other",
    }  # fmt: skip
    assert wanted == set(counts)
    assert min(counts.values()) >= 40


@pytest.mark.parametrize("hard", [0.0, 0.5, 4.0])
def test_hard_kinds_of_query_are_as_frequent_as_asked(hard: float) -> None:
    rng, popular = Random("hard"), popularity(1, 0.8, 4)
    origins = Counter(c.origin for _ in range(3000) for c in draw_ask(rng, popular, hard).constraints)
    kinds = {"negation", "alternatives", "knowledge", "need", "budget"}
    share = sum(origins[kind] for kind in kinds) / origins.total()
    # 22 of 112 weights are hard kinds' (asks.py); those that a kind of product cannot have are drawn again.
    expected = 22 * hard / (22 * hard + 90)
    assert abs(share - expected) < 0.06 and set(origins) == ({"stated"} | kinds if hard else {"stated"})


def test_unseen_words_never_occur_in_training_queries(market: Market) -> None:
    unseen = {words[2] for words in SPELLINGS.values()}
    phrases = [n[2] for n in NEEDS.values()]
    for split in ("demonstration", "training", "development"):
        for pair in market.pairs[split]:
            text = f"{pair.query} {pair.product.title} {' '.join(pair.product.attributes.values())}"
            assert not unseen & set(text.split())
            assert not any(phrase in text for phrase in phrases)


def test_spellings_are_unambiguous() -> None:
    spellings = [word for words in SPELLINGS.values() for word in words]
    assert len(spellings) == len(set(spellings))


def test_the_rule_book_decides_every_case_once_and_every_rule_is_used(market: Market) -> None:
    grades = {r.id: r.grade for r in DOMAIN.rules}
    used = Counter()
    for case in market.cases.values():
        assert case.truth.label == grades[case.truth.rule]
        used[case.truth.rule] += 1
    assert set(used) == set(grades) and len(grades) >= 12


def loop_label(rel: str, constraints: list[Constraint], statuses: list[str]) -> str:
    """The rule book read top down as people would, written apart from `decide`."""
    bad = [c for c, s in zip(constraints, statuses, strict=True) if s == "conflict"]
    if rel in ("other", "accessory"):
        return "1"
    if rel == "near":
        return "1" if len(bad) > 0 else "2"
    for c in bad:
        if c.negated:
            return "1"
    if len(bad) > 1:
        return "1"
    if len(bad) == 1:
        return "3" if bad[0].key in ("color", "material") else "2"
    for s in statuses:
        if s in ("partial", "unknown"):
            return "3"
    return "4"


def test_decide_equals_the_rules_read_by_a_person() -> None:
    keys = ("brand", "color", "material", "feature", "price")
    for rel in ("same", "near", "accessory", "other"):
        for n in range(3):
            for chosen in itertools.combinations(keys, n):
                for negated in itertools.product((False, True), repeat=n):
                    constraints = [Constraint(k, ("1",), negated=g) for k, g in zip(chosen, negated, strict=True)]
                    for statuses in itertools.product(("match", "partial", "conflict", "unknown"), repeat=n):
                        ask = Ask("boots", tuple(constraints))
                        assert decide(rel, ask, statuses)[0] == loop_label(rel, constraints, list(statuses))


@pytest.mark.parametrize(
    ("constraint", "goods", "expected"),
    [
        (Constraint("price", ("50",)), Goods("boots", (), 50), "match"),
        (Constraint("price", ("50",)), Goods("boots", (), 60), "partial"),
        (Constraint("price", ("50",)), Goods("boots", (), 65), "conflict"),
        (Constraint("brand", ("norvik",)), Goods("boots", (("brand", "norvik lite"),), 10), "partial"),
        (Constraint("brand", ("norvik",)), Goods("boots", (("brand", "marwick"),), 10), "conflict"),
        (
            Constraint("material", ("leather",), negated=True),
            Goods("boots", (("material", "leather"),), 10),
            "conflict",
        ),
        (Constraint("material", ("leather",), negated=True), Goods("boots", (("material", "nylon"),), 10), "match"),
        (Constraint("material", ("leather",), negated=True), Goods("boots", (), 10), "unknown"),
        (Constraint("color", ("red", "blue")), Goods("boots", (("color", "blue"),), 10), "match"),
    ],
)
def test_status(constraint: Constraint, goods: Goods, expected: str) -> None:
    assert status(constraint, goods) == expected


def test_relation_covers_all_kinds() -> None:
    for asked in KINDS:
        assert relation(asked, asked) == "same"
        assert Counter(relation(asked, other) for other in KINDS) == {"same": 1, "near": 3, "other": len(KINDS) - 4}
    assert relation("boots", "laces") == "accessory" and relation("boots", "strap") == "other"


def test_truth_and_demonstrations_are_well_formed_responses(market: Market) -> None:
    for case in market.cases.values():
        assert parse_response(DOMAIN, render_response(DOMAIN, case.truth.steps)).well_formed
    assert all(parse_response(DOMAIN, d.response).well_formed for d in market.demonstrations)


def test_each_blind_spot_changes_the_steps_it_names(market: Market) -> None:
    first_wrong: dict[str, Counter] = {spot: Counter() for spot in BLIND_SPOTS}
    for case in market.cases.values():
        for spot in blind_spots(case):
            steps = flawed_reasoning(case, (spot,)).steps
            wrong = [k for k in steps if steps[k] != case.truth.steps[k]]
            first_wrong[spot][wrong[0] if wrong else "none"] += 1
    for spot, step in {
        "negation": "query", "budget": "query", "need": "query", "alternatives": "query",
        "sub_brand": "product", "rival": "product", "near": "category",
    }.items():  # fmt: skip
        assert set(first_wrong[spot]) == {step}, spot
        assert first_wrong[spot][step] > 50


def test_teacher_keeps_its_stated_shares() -> None:
    config = MarketConfig(demonstration_pairs=4000, training_pairs=0, development_pairs=0, test_pairs=0)
    market = generate_market(config.model_copy(update={"blind_share": 0.3, "label_follows": 0.8}), 3)
    room = fallen = flawed = followed = 0
    for demo in market.demonstrations:
        case = market.cases[demo.pair_id]
        spots = blind_spots(case)
        room, fallen = room + len(spots), fallen + len(demo.flaws)
        seen = flawed_reasoning(case, demo.flaws)
        if seen.label != case.truth.label:
            flawed += 1
            followed += parse_response(DOMAIN, demo.response).label == seen.label
    assert abs(fallen / room - 0.3) < 0.03
    assert abs(followed / flawed - 0.8) < 0.06


def test_reason_is_consistent_with_an_override_of_the_relation() -> None:
    goods = Goods("sneakers", (("color", "red"),), PRICES[0])
    ask = Ask("boots", (Constraint("color", ("red",)),))
    assert reason(ask, goods).label == "2"
    assert reason(ask, goods, "same").label == "4"
    assert reason(ask, goods, cite_rule=True).steps["label"] == "2 R4"


def test_market_too_large_for_its_words_is_a_clear_error() -> None:
    config = MarketConfig(demonstration_pairs=10, products_per_query=1)
    market = generate_market(config, 1)
    assert len(market.pairs["demonstration"]) == 10
    assert json.dumps([p.query for p in market.pairs["demonstration"]])
    with pytest.raises(UserError, match="ran out of new queries"):
        from taosr_she.data.market.asks import popularity
        from taosr_she.data.market.market import _new_query

        class Everything(set):
            def __contains__(self, item: object) -> bool:
                return True

        _new_query(Random(1), popularity(1, 1.0, 4), config, "test", Everything())
