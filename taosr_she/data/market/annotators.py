"""Simulated annotators of the market, each with their own coverage, errors and blind spots.

A person sees a pair through their blind spots (always the same ones for one pair) and sometimes makes a slip: a wrong
conclusion in a reference, or the opposite of their opinion in a verdict. So people disagree on pairs that are hard
for one of them, as real annotators do, and at random elsewhere.
"""

from collections.abc import Iterable, Mapping, Sequence
from random import Random

from pydantic import Field, field_validator

from taosr_she.base.config import Strict
from taosr_she.data.market.teacher import BLIND_SPOTS, Case, blind_spots, flawed_reasoning
from taosr_she.domain.annotation import normal_text
from taosr_she.domain.conclusions import canonical
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Annotation
from taosr_she.domain.response import Response


class Person(Strict):
    """One simulated annotator."""

    name: str = Field(min_length=1)
    """Written to the field `annotator` of every record."""
    coverage: float = Field(default=1.0, ge=0, le=1)
    """Share of the pairs that this person annotates or judges."""
    error_rate: float = Field(default=0.02, ge=0, le=1)
    """Probability of a slip in each step."""
    blind_spots: tuple[str, ...] = ()
    """Blind spots of this person (names as for the teacher)."""
    blind_rate: float = Field(default=0.5, ge=0, le=1)
    """Probability that each of them takes effect on a pair where it can occur."""

    @field_validator("blind_spots")
    @classmethod
    def _known(cls, spots: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [spot for spot in spots if spot not in BLIND_SPOTS]
        if unknown:
            raise ValueError(f"unknown blind spot '{unknown[0]}'; choose from {', '.join(BLIND_SPOTS)}")
        return spots


PEOPLE = (
    Person(name="ada", coverage=1.0, error_rate=0.02, blind_spots=("sub_brand",), blind_rate=0.3),
    Person(name="ben", coverage=0.8, error_rate=0.05, blind_spots=("need", "rival"), blind_rate=0.5),
    Person(name="cleo", coverage=0.6, error_rate=0.03, blind_spots=("alternatives", "near"), blind_rate=0.5),
)
"""A small team. No two people share a blind spot, so their majority is better than any of them."""


def annotate_by(people: Sequence[Person], cases: Mapping[str, Case], seed: int) -> list[Annotation]:
    """References of these people for the cases, by pair_id. A person's references do not depend on the other people.

    The label step is not annotated here: the pair's human label is its reference.
    """
    ids = list(cases)
    return [
        annotation
        for person in people
        for pair_id in ids
        for annotation in references_of(person, pair_id, cases, ids, _person_rng(person, pair_id, seed))
    ]


def references_of(
    person: Person, pair_id: str, cases: Mapping[str, Case], ids: Sequence[str], rng: Random
) -> list[Annotation]:
    """One person's references for the steps of one pair; none if the person does not cover the pair.

    A slip is the conclusion of somebody with every blind spot. If that is this person's conclusion anyway, it is the
    conclusion of another pair, chosen from `ids`.
    """
    if not _covers(person, rng):
        return []
    case = cases[pair_id]
    annotations = []
    for step, thought in _thoughts(person, case, rng).items():
        if step == "label":
            continue
        conclusion = thought
        if rng.random() < person.error_rate:
            spots = tuple(s for s in BLIND_SPOTS if s != "sub_brand" or s in blind_spots(case))
            conclusion = flawed_reasoning(case, spots).steps[step]
            if conclusion == thought:
                conclusion = cases[rng.choice(ids)].truth.steps[step]
        annotations.append(Annotation(pair_id, step, conclusion, annotator=person.name, guideline_version="1"))
    return annotations


def verdicts_of(
    people: Sequence[Person],
    cases: Mapping[str, Case],
    responses: Iterable[tuple[str, str, Response]],
    domain: Domain,
    seed: int,
) -> list[Annotation]:
    """Verdicts on every step of the responses (pair_id, response_id, response), missing sections left out.

    A step is right if its canonical conclusion equals the person's; if it is wrong, `correction` holds the person's
    conclusion. A person gives the same text the same verdict in every response. With the same seed, people cover the
    same pairs as in `annotate_by`, and see them the same way.
    """
    specs = {spec.key: spec for spec in domain.steps}
    thoughts: dict[tuple[str, str], dict[str, str]] = {}  # (person, pair_id) -> step -> conclusion; {} not covered
    annotations = []
    for pair_id, response_id, response in responses:
        for person in people:
            key = person.name, pair_id
            if key not in thoughts:
                rng = _person_rng(person, pair_id, seed)
                thoughts[key] = _thoughts(person, cases[pair_id], rng) if _covers(person, rng) else {}
            for step in response.steps:
                if step is None or not thoughts[key]:
                    continue
                thought, spec = thoughts[key][step.key], specs[step.key]
                agrees = canonical(domain, spec, step.text) == canonical(domain, spec, thought)
                slip = Random(f"slip {seed} {person.name} {pair_id} {step.key} {normal_text(step.text)}")
                slips = slip.random() < person.error_rate
                annotations.append(
                    Annotation(
                        pair_id, step.key, step.text,
                        verdict="correct" if agrees != slips else "wrong",
                        correction="" if agrees or slips else thought,
                        annotator=person.name,
                        guideline_version=domain.guideline_version,
                        response_id=response_id,
                    )
                )  # fmt: skip
    return annotations


def _person_rng(person: Person, pair_id: str, seed: int) -> Random:
    """A separate random stream for each person and pair, which does not depend on other people or pairs."""
    return Random(f"annotator {seed} {person.name} {pair_id}")


def _covers(person: Person, rng: Random) -> bool:
    return rng.random() < person.coverage


def _thoughts(person: Person, case: Case, rng: Random) -> dict[str, str]:
    """The person's conclusion of every step, with blind spots but without slips. Draws nothing without blind spots."""
    room = [spot for spot in blind_spots(case) if spot in person.blind_spots]
    fallen = tuple(spot for spot in room if rng.random() < person.blind_rate)
    return flawed_reasoning(case, fallen).steps if fallen else case.truth.steps
