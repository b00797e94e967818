"""What goes over the wire between the page and the server: every request and every answer, typed."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

MAX_TEXT = 4000  # characters of a note or a conclusion
MAX_BATCH = 200  # answers in one request


class Wire(BaseModel):
    """Base of all: an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Answer(Wire):
    """Something that an annotator did."""

    kind: Literal["judge", "undo", "leave"]
    key: str = Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")
    """Made by the page, different for every answer: the same one sent twice counts once."""
    item: int = Field(ge=1, lt=2**53)
    step: str = Field(default="", max_length=255)
    verdict: str = Field(default="", max_length=16)
    """correct, wrong, unsure or cannot_tell; of a reference: correct, unsure or cannot_tell."""
    conclusion: str = Field(default="", max_length=MAX_TEXT)
    """The right conclusion: of a wrong step, or as a reference."""
    note: str = Field(default="", max_length=MAX_TEXT)
    seconds: float = Field(default=0.0, ge=0, le=86_400)
    """Time that the annotator spent on the step."""
    age: float = Field(default=0.0, ge=0, le=31_536_000)
    """Seconds since the annotator did it: more than a moment when the page was offline."""
    of: str = Field(default="", max_length=64)
    """With undo: the key of the judgement to take back."""

    @field_validator("step", "verdict", "conclusion", "note", "of")
    @classmethod
    def _storable(cls, text: str) -> str:
        if "\x00" in text:
            raise ValueError("contains a null character")
        return text


class Answers(Wire):
    """The body of `POST /api/answers`."""

    answers: list[Answer] = Field(min_length=1, max_length=MAX_BATCH)


class Refusal(Wire):
    """An answer that was not kept, and why."""

    key: str
    error: str


class Saved(Wire):
    """Keys of the answers that are kept (now or before), and the refused ones."""

    saved: list[str]
    refused: list[Refusal] = []


class Problem(Wire):
    """The body of every answer with a status of 400 or more."""

    error: str


class Option(Wire):
    """One of the conclusions of a step with a finite set of them."""

    value: str
    name: str


class StepShape(Wire):
    """What a step may conclude, the same for all items."""

    key: str
    title: str
    guide: str
    kind: Literal["closed", "free"]
    form: Literal["text", "fields", "choice", "label"]
    options: list[Option]
    keys: list[str]


class Rule(Wire):
    """A business rule."""

    id: str
    grade: str
    text: str


class Grade(Wire):
    """A grade of the label scale."""

    code: str
    name: str
    meaning: str


class Guideline(Wire):
    """The rule book, the grades and the lead's own text, with the version that goes with every answer."""

    version: str
    domain: str
    text: str
    grades: list[Grade]
    rules: list[Rule]


class Start(Wire):
    """`GET /api/start`: who I am, and what is the same for all items."""

    name: str
    role: Literal["annotator", "lead"]
    steps: list[StepShape]
    guideline: Guideline


class Progress(Wire):
    """How far an annotator is, and what the pool still has."""

    items_done: int
    steps_judged: int
    left: int
    """Items that this person left and nobody else has done."""
    open: int
    """Items in the pool that somebody can still take."""


class ShownField(Wire):
    """One field of the product, as the domain shows it; `rows` for attributes, `text` otherwise."""

    heading: str
    text: str
    rows: list[tuple[str, str]]
    fold: int
    """Characters to show at first: as many as the model reads."""


class Said(Wire):
    """What the annotator last said about a step."""

    key: str
    verdict: str
    conclusion: str
    note: str


class ShownStep(Wire):
    """A step of an item: its text, None if the response lacks it, and my own answer. Nobody else's is shown."""

    key: str
    text: str | None
    asked: bool
    said: Said | None
    critique: str | None
    """What the step should say by the GSRM; None where the item does not show it."""


class ShownItem(Wire):
    """What an annotator sees of an item."""

    id: int
    kind: Literal["verdict", "reference"]
    query_heading: str
    query: str
    locale: str
    fields: list[ShownField]
    steps: list[ShownStep]


class Items(Wire):
    """`GET /api/items`: the items that I hold."""

    items: list[ShownItem]
    progress: Progress
