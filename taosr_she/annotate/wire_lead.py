"""What goes over the wire between the lead's page and the server."""

from typing import Literal

from pydantic import Field

from taosr_she.annotate.wire import ShownItem, Wire


class ReasonRow(Wire):
    """The items that one policy chose."""

    reason: str
    items: int
    wanted: int | None
    """Annotations wanted, more than the items if some are annotated twice. None for gold, which everybody gets."""
    done: int
    held: int
    left: int


class PersonRow(Wire):
    """One person's work. Shares and medians are of their latest 500 judgements; None where there is nothing."""

    name: str
    role: Literal["annotator", "lead"]
    active: bool
    items_done: int
    steps_judged: int
    last: str
    seconds: float | None
    """Median time of a judgement."""
    abstained: float | None
    """Share of unsure and cannot_tell."""
    gold_right: int
    gold: int
    """Verdicts on gold steps, and how many of them are right."""
    overruled: int
    compared: int
    """Verdicts on steps that the GSRM examined, and how many of them differ from it: what the person changed."""


class Imported(Wire):
    """Somebody whose records came from elsewhere: they have no link and have answered nothing here."""

    name: str
    records: int


class Overview(Wire):
    """`GET /api/lead/overview`."""

    reasons: list[ReasonRow]
    people: list[PersonRow]
    imported: list[Imported]


class PeopleAgree(Wire):
    """Two people, on a step or on all. `kappa` is None where chance explains all, `base` None for references."""

    first: str
    second: str
    step: str
    items: int
    raw: float
    kappa: float | None
    base: float | None
    """Share of `correct` among their verdicts: kappa is low where it is near 0 or 1, whatever people do."""
    weighted: float | None
    """Quadratic weighted kappa of the grades that both gave as references."""


class Agreement(Wire):
    """`GET /api/lead/agreement`."""

    pairs: list[PeopleAgree]
    outliers: list[str]
    with_others: dict[str, float]
    """Person -> share of their items on which they agree with the majority of at least two others."""
    notes: list[str]
    all_steps: str


CritiqueName = Literal["right", "with_gsrm", "seconds"]


class CritiqueMeasure(Wire):
    """One measure of the items that show critiques and of those that keep them back. None: no verdict to measure, or
    (ends of the 95% interval) fewer than two pairs."""

    name: CritiqueName
    shown: float | None
    shown_ends: tuple[float, float] | None
    shown_count: int
    kept: float | None
    kept_ends: tuple[float, float] | None
    kept_count: int
    difference: float | None
    """Shown minus kept back."""
    difference_ends: tuple[float, float] | None


class CritiqueEffect(Wire):
    """`GET /api/lead/critiques`: whether critiques help. The counts are those of items that somebody judged."""

    shown_items: int
    kept_items: int
    measures: list[CritiqueMeasure]


class Voice(Wire):
    """What one person said about a step."""

    person: str
    verdict: str
    conclusion: str
    note: str
    guideline_version: str


class Disagreement(Wire):
    """A step on which people differ."""

    item: ShownItem
    step: str
    voices: list[Voice]


class Disagreements(Wire):
    """`GET /api/lead/disagreements`: the first of `total`."""

    disagreements: list[Disagreement]
    total: int


class NewPerson(Wire):
    """The body of `POST /api/lead/people`: adds a person, or gives a known one a new link."""

    name: str = Field(max_length=255)
    role: Literal["annotator", "lead"] = "annotator"


class Link(Wire):
    """A person's token, shown once."""

    name: str
    role: Literal["annotator", "lead"]
    token: str


class FormerPerson(Wire):
    """The body of `POST /api/lead/people/remove`."""

    name: str = Field(max_length=255)


class Done(Wire):
    """Something was done."""

    done: bool = True
