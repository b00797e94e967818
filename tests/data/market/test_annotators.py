from collections import Counter
from dataclasses import replace
from itertools import combinations

import pytest
from pydantic import ValidationError

from taosr_she.data.market.annotators import PEOPLE, Person, annotate_by, verdicts_of
from taosr_she.data.market.market import Market, MarketConfig, generate_market
from taosr_she.data.market.teacher import Case, blind_spots, flawed_reasoning
from taosr_she.domain.annotation import is_reference
from taosr_she.domain.conclusions import canonical
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Annotation
from taosr_she.domain.response import parse_response, render_response

DOMAIN = load_domain("taobao")
SPECS = {s.key: s for s in DOMAIN.steps}
CONFIG = MarketConfig(demonstration_pairs=2000, training_pairs=300, development_pairs=0, test_pairs=0)


@pytest.fixture(scope="module")
def market() -> Market:
    return generate_market(CONFIG, seed=5)


@pytest.fixture(scope="module")
def cases(market: Market) -> dict[str, Case]:
    return {p.pair_id: market.cases[p.pair_id] for p in market.pairs["demonstration"]}


def same(step: str, a: str, b: str) -> bool:
    return canonical(DOMAIN, SPECS[step], a) == canonical(DOMAIN, SPECS[step], b)


def test_people_keep_their_coverage_and_error_rates(cases: dict[str, Case]) -> None:
    people = (Person(name="half", coverage=0.5, error_rate=0.1), Person(name="all", error_rate=0))
    said = annotate_by(people, cases, seed=2)
    assert all(is_reference(a) for a in said)
    by_name = {p.name: [a for a in said if a.annotator == p.name] for p in people}
    assert len(by_name["all"]) == 4 * len(cases)
    assert all(a.conclusion == cases[a.pair_id].truth.steps[a.step] for a in by_name["all"])
    assert {a.step for a in said} == {"query", "product", "category", "attributes"}
    assert abs(len({a.pair_id for a in by_name["half"]}) / len(cases) - 0.5) < 0.04
    wrong = [not same(a.step, a.conclusion, cases[a.pair_id].truth.steps[a.step]) for a in by_name["half"]]
    # A slip drawn from another pair can coincide with the truth (category has four values), so slightly below 0.1.
    assert 0.07 < sum(wrong) / len(wrong) < 0.12


def test_people_fall_into_their_own_blind_spots_only_and_disagree_there(cases: dict[str, Case]) -> None:
    people = tuple(p.model_copy(update={"error_rate": 0.0, "coverage": 1.0, "blind_rate": 0.5}) for p in PEOPLE)
    wrong: dict[str, set[str]] = {p.name: set() for p in people}
    for a in annotate_by(people, cases, seed=2):
        if a.conclusion != cases[a.pair_id].truth.steps[a.step]:
            wrong[a.annotator].add(a.pair_id)
    for person in people:
        room = {p for p, case in cases.items() if set(blind_spots(case)) & set(person.blind_spots)}
        shows = {p for p in room if flawed_reasoning(cases[p], _room(cases[p], person)).steps != cases[p].truth.steps}
        assert wrong[person.name] <= shows
        assert 0.4 < len(wrong[person.name]) / len(shows) < 0.65, person  # two spots in a pair: more than a half
    assert all(not set(a.blind_spots) & set(b.blind_spots) for a, b in combinations(people, 2))


def _room(case: Case, person: Person) -> tuple[str, ...]:
    return tuple(s for s in blind_spots(case) if s in person.blind_spots)


def test_what_a_person_says_depends_on_neither_the_others_nor_the_order(cases: dict[str, Case]) -> None:
    ben = [a for a in annotate_by(PEOPLE, cases, seed=2) if a.annotator == "ben"]
    assert ben == annotate_by(PEOPLE[1:2], cases, seed=2)
    assert ben != [replace(a, annotator="ben") for a in annotate_by(PEOPLE[:1], cases, seed=2)]
    assert ben != annotate_by(PEOPLE[1:2], cases, seed=3)


def test_verdicts_follow_from_what_the_person_thinks(market: Market, cases: dict[str, Case]) -> None:
    blind = Person(name="blind", error_rate=0, blind_spots=("negation", "budget"), blind_rate=1)
    exact = Person(name="exact", error_rate=0)
    responses = [(d.pair_id, f"r{n}", parse_response(DOMAIN, d.response)) for n, d in enumerate(market.demonstrations)]
    said = verdicts_of((blind, exact), cases, responses, DOMAIN, seed=1)
    assert len(said) == 2 * 5 * len(responses) and not any(is_reference(a) for a in said)
    texts = {response_id: response for _, response_id, response in responses}
    errors: Counter[str] = Counter()
    for a in said:
        case = cases[a.pair_id]
        step = texts[a.response_id].steps[DOMAIN.step_keys.index(a.step)]
        assert step is not None and a.conclusion == step.text
        seen = case.truth if a.annotator == "exact" else flawed_reasoning(case, _room(case, blind))
        assert (a.verdict == "correct") == same(a.step, a.conclusion, seen.steps[a.step])
        assert a.correction == ("" if a.verdict == "correct" else seen.steps[a.step])
        errors[a.annotator] += (a.verdict == "correct") != same(a.step, a.conclusion, case.truth.steps[a.step])
    assert errors["exact"] == 0 < errors["blind"]


def test_a_slip_in_judging_is_the_same_for_the_same_text_and_as_often_as_stated(cases: dict[str, Case]) -> None:
    person = Person(name="hasty", coverage=0.5, error_rate=0.4)
    right = {p: parse_response(DOMAIN, render_response(DOMAIN, c.truth.steps)) for p, c in cases.items()}
    first = verdicts_of([person], cases, [(p, "r1", r) for p, r in right.items()], DOMAIN, seed=1)
    second = verdicts_of([person], cases, [(p, "r2", r) for p, r in right.items()], DOMAIN, seed=1)
    assert [replace(a, response_id="r1") for a in second] == first
    assert abs(sum(a.verdict == "wrong" for a in first) / len(first) - 0.4) < 0.02
    covered = {a.pair_id for a in annotate_by([person], cases, seed=1)}
    assert {a.pair_id for a in first} == covered


def test_missing_sections_are_not_judged(cases: dict[str, Case]) -> None:
    pair_id = next(iter(cases))
    cut = parse_response(DOMAIN, "[query] category: boots\n[label] 4")
    said = verdicts_of([Person(name="a")], cases, [(pair_id, "r", cut)], DOMAIN, seed=1)
    assert [a.step for a in said] == ["query", "label"]


def test_the_market_has_one_annotator_or_the_people_named() -> None:
    one, several = generate_market(CONFIG, 1), generate_market(CONFIG.model_copy(update={"annotators": PEOPLE}), 1)
    assert one.pairs == several.pairs and one.demonstrations == several.demonstrations
    assert {a.annotator for a in one.annotations} == {"market"}
    training = {p.pair_id: several.cases[p.pair_id] for p in several.pairs["training"]}
    assert several.annotations == annotate_by(PEOPLE, training, 1)


def test_held_out_people_annotate_the_development_pairs_alone() -> None:
    config = CONFIG.model_copy(update={"development_pairs": 40, "held_out_annotators": PEOPLE[:2]})
    market = generate_market(config, 1)
    development = {p.pair_id: market.cases[p.pair_id] for p in market.pairs["development"]}
    assert market.held_out == annotate_by(PEOPLE[:2], development, 1) != []
    training = {p.pair_id for p in market.pairs["training"]}
    assert {a.pair_id for a in market.annotations} <= training and training.isdisjoint(development)
    assert {a.annotator for a in generate_market(CONFIG.model_copy(update={"development_pairs": 4}), 1).held_out} == {
        "held_out"
    }


def test_the_only_annotator_of_the_market_keeps_the_stated_coverage_and_error_rate() -> None:
    market = generate_market(
        MarketConfig(
            demonstration_pairs=0, training_pairs=2000, development_pairs=0, test_pairs=0,
            annotation_coverage=0.5, annotation_error=0.1,
        ), 4,
    )  # fmt: skip
    said: list[Annotation] = market.annotations
    assert abs(len(said) / (4 * 2000) - 0.5) < 0.04
    wrong = [not same(a.step, a.conclusion, market.cases[a.pair_id].truth.steps[a.step]) for a in said]
    assert 0.07 < sum(wrong) / len(wrong) < 0.12


def test_unknown_blind_spot_is_an_error() -> None:
    with pytest.raises(ValidationError, match="unknown blind spot 'colour'"):
        Person(name="x", blind_spots=("colour",))
