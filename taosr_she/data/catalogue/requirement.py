"""One requirement of a query, and its source."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from taosr_she.domain.domain import Domain, StepSpec
from taosr_she.domain.prompt import neutralise

PRODUCT_TYPE = "product type"
NOTHING = "none"
"""The text of a step that has nothing to say."""
Known = Literal["people", "catalogue", "usage", "guess"]


@dataclass(frozen=True, slots=True)
class Requirement:
    """Source. `people`: annotated in this query. `catalogue`: a brand or typed kind of the catalogue, a plain color or
    an amount. `usage`: annotated so in nearly all other queries with these words. `guess`: the tagger."""

    kind: str
    text: str
    by: Known


Reading = tuple[Requirement, ...]
"""All requirements of a query, in its own order."""


def is_known(reading: Reading) -> bool:
    """Whether every requirement is known, so that nothing is left to guess."""
    return bool(reading) and all(r.by != "guess" for r in reading)


def by_people(reading: Reading) -> bool:
    """Whether people annotated this query."""
    return bool(reading) and all(r.by == "people" for r in reading)


def query_step(domain: Domain) -> StepSpec:
    """The step that lists the requirements: the first one."""
    return domain.steps[0]


def conclusion(domain: Domain, reading: Sequence[Requirement]) -> str:
    """The query step's text, kinds in the order of the domain."""
    order = {key: n for n, key in enumerate(query_step(domain).keys)}
    listed = sorted(reading, key=lambda r: order[r.kind])  # stable: keeps the order of the query within a kind
    return "; ".join(f"{r.kind}: {r.text}" for r in listed) or NOTHING


def value(text: str) -> str:
    """The text of a requirement as the value of a field: nothing in it can act as structure."""
    return " ".join(neutralise(text).replace(";", " ").replace(":", " ").replace("(", " ").replace(")", " ").split())
