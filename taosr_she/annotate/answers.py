"""Answers: a judgement of a step, an undo, or the leave of an item. Each counts once, however often it is sent.

A judgement becomes a record in `annotations`, in the same transaction as its row in the history. A later one on the
same step replaces it; an undo brings back what was said before, or removes the record if nothing was.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from taosr_she.annotate.conclusion import checked_conclusion
from taosr_she.annotate.desk import Desk
from taosr_she.annotate.items import Item, load_items
from taosr_she.annotate.pool import LEASE_SECONDS, take
from taosr_she.annotate.tables import DONE, HELD, LEFT
from taosr_she.annotate.wire import Answer, Refusal, Saved
from taosr_she.base.errors import UserError
from taosr_she.base.escape import one_line
from taosr_she.domain.annotation import VERDICTS
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Annotation
from taosr_she.examine.store import drop_records, put_records

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass
class _Place:
    """An item in a person's hands, while a batch of answers is taken in."""

    item: Item
    state: str
    said: dict[str, list[Any]] = field(default_factory=dict)  # step -> answers that were not undone, oldest first

    @property
    def complete(self) -> bool:
        return all(self.said.get(step) for step in self.item.asked)


def take_in(desk: Desk, domain: Domain, person: str, answers: Sequence[Answer], lease: float = LEASE_SECONDS) -> Saved:
    """Keep the answers, in order. One that cannot be kept is refused with a reason and does not affect the others."""
    return desk.write(lambda connection: _Batch(desk, domain, person, lease, connection).take_in(answers))


def record_of(item: Item, domain: Domain, answer: Any, annotator: str) -> Annotation:
    """The annotation that an answer of the history stands for."""
    reference = item.kind == "reference"
    text = None if reference else item.text(domain.step_keys.index(answer.step))
    return Annotation(
        pair_id=item.pair.pair_id,
        step=answer.step,
        conclusion=answer.conclusion if reference else text or "",
        verdict=answer.verdict,
        correction="" if reference else answer.conclusion,
        note=answer.note,
        annotator=annotator,
        time=answer.time,
        guideline_version=answer.guideline_version,
        response_id=item.response_id,
    )


def said_of(desk: Desk, connection: "Connection", person: str, item: int) -> dict[str, list[Any]]:
    """step -> the person's judgements of it that were not undone, oldest first."""
    from sqlalchemy import select

    a = desk.tables.answers
    query = (
        select(a).where(a.c.item == item, a.c.person == person, a.c.kind == "judge", a.c.undone == 0).order_by(a.c.id)
    )
    said: dict[str, list[Any]] = {}
    for row in connection.execute(query).all():
        said.setdefault(row.step, []).append(row)
    return said


class _Batch:
    """Takes in one batch within one transaction."""

    def __init__(self, desk: Desk, domain: Domain, person: str, lease: float, connection: "Connection") -> None:
        self.desk, self.domain, self.person, self.connection = desk, domain, person, connection
        self.now = datetime.now(UTC)
        self.until = self.now.timestamp() + lease
        self.places: dict[int, _Place] = {}

    def take_in(self, answers: Sequence[Answer]) -> Saved:
        from sqlalchemy import select

        history = self.desk.tables.answers
        keys = [answer.key for answer in answers]
        query = select(history.c.key).where(history.c.person == self.person, history.c.key.in_(keys))
        known = set(self.connection.execute(query).scalars())
        self._load({answer.item for answer in answers if answer.key not in known})
        refused = []
        for answer in answers:
            if answer.key in known:
                continue
            known.add(answer.key)
            try:
                self._take(answer)
            except UserError as error:
                refused.append(Refusal(key=answer.key, error=str(error)))
        turned_down = {refusal.key for refusal in refused}
        return Saved(saved=[key for key in dict.fromkeys(keys) if key not in turned_down], refused=refused)

    def _load(self, numbers: set[int]) -> None:
        from sqlalchemy import select

        a = self.desk.tables.assignments
        query = select(a.c.item, a.c.state).where(a.c.person == self.person, a.c.item.in_(list(numbers)))
        states = {row.item: row.state for row in self.connection.execute(query).all()}
        for number, item in load_items(self.desk, self.connection, states).items():
            said = said_of(self.desk, self.connection, self.person, number)
            self.places[number] = _Place(item, states[number], said)

    def _take(self, answer: Answer) -> None:
        place = self.places.get(answer.item)
        if place is None:
            raise UserError(f"item {answer.item} was never given to {one_line(self.person)}")
        if answer.kind == "judge":
            self._judge(answer, place)
        elif answer.kind == "undo":
            self._undo(answer, place)
        elif place.state == HELD:
            self._keep(answer)
            self._put(answer.item, place, LEFT)
        else:
            self._keep(answer)

    def _judge(self, answer: Answer, place: _Place) -> None:
        conclusion = _checked(self.domain, place.item, answer)
        row = self._keep(answer, conclusion)
        said = place.said.setdefault(answer.step, [])
        if said:
            drop_records(self.connection, [self._record(place, said[-1])])
        put_records(self.connection, [self._record(place, row)])
        said.append(row)
        self._put(answer.item, place, DONE if place.complete else HELD)

    def _undo(self, answer: Answer, place: _Place) -> None:
        self._keep(answer)
        history = self.desk.tables.answers
        taken_back = next((row for said in place.said.values() for row in said if row.key == answer.of), None)
        if taken_back is None:
            return  # already undone, or refused when it came: either way it does not count
        mine = (history.c.person == self.person, history.c.key == answer.of)
        self.connection.execute(history.update().where(*mine).values(undone=1))
        said = place.said[taken_back.step]
        if said[-1] is taken_back:
            drop_records(self.connection, [self._record(place, taken_back)])
            if said[:-1]:
                put_records(self.connection, [self._record(place, said[-2])])
        said.remove(taken_back)
        self._put(answer.item, place, DONE if place.complete else HELD)

    def _keep(self, answer: Answer, conclusion: str = "") -> "_Kept":
        said = datetime.fromtimestamp(self.now.timestamp() - answer.age, UTC)
        kept = _Kept(
            key=answer.key, step=answer.step, verdict=answer.verdict, conclusion=conclusion, note=answer.note.strip(),
            time=said.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), guideline_version=self.domain.guideline_version,
        )  # fmt: skip
        row = {name: getattr(kept, name) for name in kept.__slots__}
        more = {"person": self.person, "kind": answer.kind, "item": answer.item, "seconds": answer.seconds, "undone": 0}
        self.connection.execute(self.desk.tables.answers.insert(), row | more)
        return kept

    def _put(self, number: int, place: _Place, state: str) -> None:
        if state != place.state:
            take(self.desk, self.connection, self.person, number, state, self.until)
            place.state = state

    def _record(self, place: _Place, row: Any) -> Annotation:
        return record_of(place.item, self.domain, row, self.person)


@dataclass(frozen=True, slots=True)
class _Kept:
    """An answer as the history keeps it."""

    key: str
    step: str
    verdict: str
    conclusion: str
    note: str
    time: str
    guideline_version: str


def _checked(domain: Domain, item: Item, answer: Answer) -> str:
    """The conclusion of a judgement, in the form in which it is kept. Raises UserError for one that cannot be."""
    if answer.step not in domain.step_keys:
        raise UserError(f"step '{one_line(answer.step)[:40]}' is none of {', '.join(domain.step_keys)}")
    spec = domain.steps[domain.step_keys.index(answer.step)]
    reference = item.kind == "reference"
    allowed = tuple(v for v in VERDICTS if v != "wrong") if reference else VERDICTS
    if answer.verdict not in allowed:
        raise UserError(f"verdict '{one_line(answer.verdict)}' is none of {', '.join(allowed)}")
    if reference and answer.step not in item.asked:
        raise UserError(f"step {answer.step} is not asked of this item")
    if not reference and item.text(domain.step_keys.index(answer.step)) is None:
        raise UserError(f"step {answer.step} is missing in this response, so there is nothing to judge")
    speaks = answer.verdict == ("correct" if reference else "wrong")
    if answer.conclusion.strip() and not speaks:
        raise UserError(f"a conclusion does not go with verdict '{answer.verdict}'")
    if not answer.conclusion.strip() and reference and speaks:
        raise UserError(f"step {answer.step} needs a conclusion, or the verdict unsure or cannot_tell")
    return checked_conclusion(domain, spec, answer.conclusion, reference) if answer.conclusion.strip() else ""
