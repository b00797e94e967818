"""A pair (one query with one product) and the annotations that people give to its reasoning steps."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Product:
    """The shop's information about a product. Only `title` is required."""

    title: str
    description: str = ""
    brand: str = ""
    category: str = ""
    price: float | None = None  # in the shop's currency
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pair:
    """One query with one product and, when known, its human label (a code of the domain's label scale).

    `query_id` groups the pairs of a query: splits and bootstrap intervals keep them together.
    `tags` are slices for evaluation ("negation", "tail"). `extra` keeps columns we do not use, unchanged.
    """

    pair_id: str
    query_id: str
    query: str
    product: Product
    label: str | None = None
    locale: str = ""
    tags: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def raters(self) -> tuple[str, ...]:
        """The grade of each person who graded the pair, in the order of the file; empty if only `label` is known."""
        return tuple(self.extra.get("raters", ()))


@dataclass(frozen=True, slots=True)
class Annotation:
    """One person's annotation of one step of one pair.

    A *reference* has no `response_id`: `conclusion` is the right conclusion of a closed step, and verifies any rollout
    of the pair. A *verdict* has a `response_id`: `verdict` says whether the exact text in `conclusion` is right.
    """

    pair_id: str
    step: str  # key of a step in the step schema
    conclusion: str  # the step's text
    verdict: str = "correct"  # correct | wrong | unsure | cannot_tell
    correction: str = ""
    note: str = ""
    annotator: str = ""
    time: str = ""  # ISO 8601
    guideline_version: str = ""
    response_id: str = ""
