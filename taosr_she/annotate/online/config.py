"""Settings of online verification, and of the simulated people who can take part in it."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from taosr_she.annotate.policies import BY_GSRM, POLICIES
from taosr_she.base.config import Strict
from taosr_she.data.market.annotators import PEOPLE, Person


class SimulatedPeople(Strict):
    """The market's annotators, who answer with a delay, errors and blind spots. They use the store as the page does."""

    people: tuple[Person, ...] = Field(default=PEOPLE, min_length=1)
    """Who they are. A person leaves an item about a pair that they do not cover."""
    delay: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (2, 6)
    """Shortest and longest time from taking an item to its answer, in updates; drawn for each person and item."""
    at_once: int = Field(default=4, gt=0, le=50)
    """Items that a person holds at the same time."""

    @model_validator(mode="after")
    def _check(self) -> "SimulatedPeople":
        if self.delay[0] > self.delay[1]:
            raise ValueError(f"delay: the shortest, {self.delay[0]}, is longer than the longest, {self.delay[1]}")
        names = [person.name for person in self.people]
        if len(set(names)) < len(names):
            raise ValueError("people: two of them have the same name")
        return self


class OnlineConfig(Strict):
    """Questions to people during training, about its own rollouts. A question is one step of a response."""

    store: str | None = None
    """Annotation store for questions and answers: a SQLite file or any SQLAlchemy URL. Unset:
    `online-STAGE.db` in the run folder. People answer at `taosr-she annotate serve STORE`."""
    replay: str | None = None
    """The record (`online.jsonl`) of an earlier training, instead of a store: each update hears what that one heard."""
    policies: dict[str, float] = Field(default={"disagreement": 0.5, "uncertain": 0.4, "random": 0.1}, min_length=1)
    """How questions are chosen, and each policy's share: disagreement, uncertain, critical, tail, random (as for
    `taosr-she annotate queue`). `uncertain` finds nothing with a GSRM of one vote that compares closed steps: it is
    always sure."""
    unit: Literal["response", "step"] = "response"
    """`response`: the policies choose responses, and ask about each of their steps that nobody knows. `step`: they
    choose single steps."""
    each_update: int = Field(default=8, gt=0, le=400)
    """Maximum number of questions in one update; of a response with more, only the first steps are asked."""
    open: int = Field(default=64, gt=0)
    """Maximum number of questions without an answer; with as many, nothing is asked until some are answered."""
    max_age: int = Field(default=20, gt=0)
    """Updates after which a question without an answer is withdrawn. An answer that comes later still counts."""
    budget: int | None = Field(default=None, gt=0)
    """Maximum number of questions in the whole training, without those that were withdrawn; unset: no limit."""
    people: SimulatedPeople | None = None
    """Simulated people, who answer in place of real ones; only with data of kind `market`."""

    @field_validator("policies")
    @classmethod
    def _known(cls, shares: dict[str, float]) -> dict[str, float]:
        for name, share in shares.items():
            if name not in POLICIES:
                raise ValueError(f"unknown policy '{name}'; choose from {', '.join(POLICIES)}")
            if share <= 0:
                raise ValueError(f"the share of '{name}' must be above 0")
        return shares

    @model_validator(mode="after")
    def _check(self) -> "OnlineConfig":
        if self.replay is not None and (self.store is not None or self.people is not None):
            raise ValueError("a `replay` asks nobody: leave out `store` and `people`")
        return self

    @property
    def by_gsrm(self) -> str | None:
        """A policy that needs a GSRM's verdicts, if there is one."""
        return next((name for name in self.policies if name in BY_GSRM), None)

    @property
    def shares(self) -> dict[str, float]:
        """Policy -> share of 1."""
        total = sum(self.policies.values())
        return {name: share / total for name, share in self.policies.items()}
