import math
from random import Random

import pytest
from sklearn.metrics import cohen_kappa_score

from taosr_she.data.market.annotators import PEOPLE, Person, annotate_by, verdicts_of
from taosr_she.data.market.market import Market, MarketConfig, generate_market
from taosr_she.data.market.teacher import Case
from taosr_she.domain.conclusions import canonical
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Annotation
from taosr_she.domain.response import parse_response
from taosr_she.examine.agreement import ALL_STEPS, AnnotatorReport, annotator_report, pair_agreement
from taosr_she.examine.majority import majority_references, majority_verdicts

DOMAIN = load_domain("taobao")
HONEST = (
    Person(name="ann", error_rate=0.03),
    Person(name="ben", error_rate=0.05, blind_spots=("need",), blind_rate=0.3),
)
POISONED = Person(name="mallory", error_rate=0.4)


@pytest.fixture(scope="module")
def market() -> Market:
    return generate_market(
        MarketConfig(demonstration_pairs=600, training_pairs=600, development_pairs=0, test_pairs=0), seed=3
    )


@pytest.fixture(scope="module")
def cases(market: Market) -> dict[str, Case]:
    return {p.pair_id: market.cases[p.pair_id] for p in market.pairs["training"]}


def outliers(annotations: list[Annotation]) -> list[str]:
    return [report.annotator for report in annotator_report(DOMAIN, annotations) if report.outlier]


def test_agreement_equals_scikit_learn_and_loops() -> None:
    rng = Random(1)
    said = [
        Annotation(f"p{i}", "category", rng.choice(["same", "near", "other"]), annotator=name)
        for name in ("ann", "ben")
        for i in range(80)
        if rng.random() < 0.8
    ]
    said += [
        Annotation(f"p{i}", "query", "x", rng.choice(["correct", "wrong"]), annotator=name, response_id=f"r{i}")
        for name in ("ann", "ben")
        for i in range(60)
    ]
    a, b = ({(s.pair_id, s.step): s for s in said if s.annotator == name} for name in ("ann", "ben"))
    rows = {row.step: row for row in pair_agreement(DOMAIN, said)}
    assert set(rows) == {"category", "query", ALL_STEPS}
    agreed_by_chance = 0.0
    for step in ("category", "query"):
        shared = [place for place in a if place in b and place[1] == step]
        first, second = ([s[p].conclusion + s[p].verdict for p in shared] for s in (a, b))
        agreed = sum(x == y for x, y in zip(first, second, strict=True))
        assert rows[step].items == len(shared)
        assert rows[step].raw == pytest.approx(agreed / len(shared))
        assert rows[step].kappa == pytest.approx(cohen_kappa_score(first, second))
        agreed_by_chance += sum(first.count(v) * second.count(v) / len(shared) for v in set(first))
    total = rows[ALL_STEPS]
    assert total.items == rows["category"].items + rows["query"].items
    agreed = total.raw * total.items
    assert total.kappa == pytest.approx((agreed - agreed_by_chance) / (total.items - agreed_by_chance))


def test_agreement_compares_conclusions_canonically_and_leaves_out_the_unsure() -> None:
    said = [
        Annotation("p", "attributes", "color: match; price: match", annotator="ann"),
        Annotation("p", "attributes", "Price: match;  COLOR: match", annotator="ben"),
        Annotation("q", "attributes", "color: match", annotator="ann"),
        Annotation("q", "attributes", "color: conflict", "unsure", annotator="ben"),
    ]
    step, total = pair_agreement(DOMAIN, said)
    assert (step.step, total.step, step.items, step.raw) == ("attributes", ALL_STEPS, 1, 1.0)
    assert math.isnan(step.kappa)  # one value throughout: chance explains all


def wrong_share(market_cases: dict[str, Case], said: dict[tuple[str, str], str | None]) -> float:
    specs = {s.key: s for s in DOMAIN.steps}
    wrong = sum(
        value != canonical(DOMAIN, specs[step], market_cases[pair_id].truth.steps[step])
        for (pair_id, step), value in said.items()
        if value is not None
    )
    return wrong / len(said)


def test_a_poisoned_annotator_is_outvoted_and_named(cases: dict[str, Case]) -> None:
    said = annotate_by((*HONEST, POISONED), cases, seed=1)
    alone = majority_references(DOMAIN, [a for a in said if a.annotator == "mallory"])
    together = majority_references(DOMAIN, said)
    assert wrong_share(cases, {place: o.value for place, o in alone.items()}) > 0.3
    assert wrong_share(cases, {place: o.value for place, o in together.items()}) < 0.02
    known = sum(o.value is not None for o in together.values()) / len(together)
    assert known > 0.95
    reports: dict[str, AnnotatorReport] = {r.annotator: r for r in annotator_report(DOMAIN, said)}
    assert [name for name, report in reports.items() if report.outlier] == ["mallory"]
    assert reports["mallory"].agreement < 0.7 < 0.9 < min(reports["ann"].agreement, reports["ben"].agreement)
    assert (
        reports["mallory"].pairs == len(cases) and reports["mallory"].items < 4 * len(cases) == reports["ann"].records
    )


def test_a_poisoned_judge_is_outvoted_and_named(market: Market) -> None:
    responses = [
        (d.pair_id, f"r{n}", parse_response(DOMAIN, d.response)) for n, d in enumerate(market.demonstrations[:150])
    ]
    said = verdicts_of((*HONEST, POISONED), market.cases, responses, DOMAIN, seed=1)
    assert outliers(said) == ["mallory"]
    specs = {s.key: s for s in DOMAIN.steps}
    opinions = majority_verdicts(said)
    wrong = 0
    for (pair_id, step, text), opinion in opinions.items():
        truth = canonical(DOMAIN, specs[step], market.cases[pair_id].truth.steps[step])
        right = canonical(DOMAIN, specs[step], text) == truth
        wrong += opinion.value != ("correct" if right else "wrong")
    assert wrong / len(opinions) < 0.05


def test_nobody_is_named_among_equals_nor_for_being_somewhat_less_careful(cases: dict[str, Case]) -> None:
    equals = tuple(Person(name=f"p{i}", error_rate=0.1) for i in range(4))
    assert not any(outliers(annotate_by(equals, cases, seed)) for seed in range(20))
    assert not outliers(annotate_by((*equals[:3], Person(name="hasty", error_rate=0.13)), cases, seed=1))
    assert not outliers(annotate_by(PEOPLE, cases, seed=1))


def test_two_people_or_few_pairs_name_nobody(cases: dict[str, Case]) -> None:
    said = annotate_by((HONEST[0], POISONED), cases, seed=1)
    assert not outliers(said)
    assert math.isnan(annotator_report(DOMAIN, said)[0].agreement)
    few = [a for a in annotate_by((*HONEST, POISONED), cases, seed=1) if a.pair_id in list(cases)[:5]]
    assert not outliers(few)
    assert annotator_report(DOMAIN, []) == []


def test_two_poisoned_among_five_are_both_named(cases: dict[str, Case]) -> None:
    people = [Person(name=f"p{i}", error_rate=0.4 if i < 2 else 0.03) for i in range(5)]
    assert outliers(annotate_by(people, cases, seed=1)) == ["p0", "p1"]


def test_a_leads_decisions_are_no_agreement_and_the_base_rate_is_the_share_of_correct() -> None:
    def said(annotator: str, pair_id: str, verdict: str) -> Annotation:
        return Annotation(pair_id, "category", "near", verdict, annotator=annotator, response_id="r")

    records = [said("ann", "a", "correct"), said("bob", "a", "correct"), said("ann", "b", "correct")]
    records += [said("bob", "b", "wrong"), said("settled:lea", "b", "correct"), said("ann", "c", "cannot_tell")]
    total = next(row for row in pair_agreement(DOMAIN, records) if row.step == ALL_STEPS)
    assert (total.first, total.second, total.items, total.raw, total.base) == ("ann", "bob", 2, 0.5, 0.75)
    assert len(pair_agreement(DOMAIN, records)) == 2  # the step and the total of one pair of people
    assert [(r.annotator, r.unsure) for r in annotator_report(DOMAIN, records)] == [("ann", 1), ("bob", 0)]
