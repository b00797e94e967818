"""A piece of what a query asks for, and who says that it does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from taosr_she.domain.domain import Domain, StepSpec
from taosr_she.domain.prompt import neutralise

PRODUCT_TYPE = "product type"
NOTHING = "none"
"""Stands where a step has nothing to say."""
Known = Literal["people", "catalogue", "usage", "guess"]


@dataclass(frozen=True, slots=True)
class Requirement:
    """`by`: `people` have read this very query so; `catalogue`: a brand or typed kind of the catalogue, a plain color
    or a number with a unit; `usage`: people read these words so in nearly all other queries; `guess`: the tagger."""

    kind: str
    text: str
    by: Known


Reading = tuple[Requirement, ...]
"""All that a query asks for, in its own order."""


def is_known(reading: Reading) -> bool:
    """Is every piece known to somebody, so that nothing else is asked?"""
    return bool(reading) and all(r.by != "guess" for r in reading)


def by_people(reading: Reading) -> bool:
    """Have people read this very query?"""
    return bool(reading) and all(r.by == "people" for r in reading)


def query_step(domain: Domain) -> StepSpec:
    """The step that says what is asked: the first one."""
    return domain.steps[0]


def conclusion(domain: Domain, reading: Sequence[Requirement]) -> str:
    """The query step's text, kinds in the order of the domain."""
    order = {key: n for n, key in enumerate(query_step(domain).keys)}
    listed = sorted(reading, key=lambda r: order[r.kind])  # stable: within a kind as asked
    return "; ".join(f"{r.kind}: {r.text}" for r in listed) or NOTHING


def value(text: str) -> str:
    """A piece of a query as the value of a field: nothing in it can act as structure."""
    return " ".join(neutralise(text).replace(";", " ").replace(":", " ").replace("(", " ").replace(")", " ").split())
