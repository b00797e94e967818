"""Answers: a judgement of a step, an undo, or the leave of an item. Each counts once, however often it is sent.

A judgement becomes a record in `annotations`, in the same transaction as its row in the history. A later one on the
same step replaces it; an undo brings back what was said before, or removes the record if nothing was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
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
    state: str  # after the answers so far
    said: dict[str, list[Any]]  # step -> answers that were not undone, oldest first
    former: str  # state before the batch

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
    """Takes in one batch within one transaction. What it writes is collected and written at the end, in few statements:
    this makes a batch of five answers twice as fast."""

    def __init__(self, desk: Desk, domain: Domain, person: str, lease: float, connection: "Connection") -> None:
        self.desk, self.domain, self.person, self.connection = desk, domain, person, connection
        self.now = datetime.now(UTC)
        self.until = self.now.timestamp() + lease
        self.places: dict[int, _Place] = {}
        self.history: dict[str, dict[str, Any]] = {}  # key -> new row
        self.outdated: list[Annotation] = []  # records to drop
        self.records: dict[tuple[int, str], Annotation | None] = {}  # (item, step) -> the record from now on

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
        self._write()
        turned_down = {refusal.key for refusal in refused}
        return Saved(saved=[key for key in dict.fromkeys(keys) if key not in turned_down], refused=refused)

    def _load(self, numbers: set[int]) -> None:
        from sqlalchemy import select

        a = self.desk.tables.assignments
        query = select(a.c.item, a.c.state).where(a.c.person == self.person, a.c.item.in_(list(numbers)))
        states = {row.item: row.state for row in self.connection.execute(query).all()}
        for number, item in load_items(self.desk, self.connection, states).items():
            said = said_of(self.desk, self.connection, self.person, number)
            self.places[number] = _Place(item, states[number], said, states[number])

    def _take(self, answer: Answer) -> None:
        place = self.places.get(answer.item)
        if place is None:
            raise UserError(f"item {answer.item} was never given to {one_line(self.person)}")
        if answer.kind == "judge":
            self._judge(answer, place)
        elif answer.kind == "undo":
            self._undo(answer, place)
        else:
            self._keep(answer)
            place.state = LEFT if place.state == HELD else place.state

    def _judge(self, answer: Answer, place: _Place) -> None:
        conclusion = _checked(self.domain, place.item, answer)
        row = self._keep(answer, conclusion)
        said = place.said.setdefault(answer.step, [])
        self._now_says(answer.item, place, said[-1] if said else None, row)
        said.append(row)
        place.state = DONE if place.complete else HELD

    def _undo(self, answer: Answer, place: _Place) -> None:
        self._keep(answer)
        taken_back = next((row for said in place.said.values() for row in said if row.key == answer.of), None)
        if taken_back is None:
            return  # already undone, or refused when it came: either way it does not count
        if taken_back.key in self.history:
            self.history[taken_back.key]["undone"] = 1
        else:
            history = self.desk.tables.answers
            mine = (history.c.person == self.person, history.c.key == taken_back.key)
            self.connection.execute(history.update().where(*mine).values(undone=1))
        said = place.said[taken_back.step]
        if said[-1] is taken_back:
            self._now_says(answer.item, place, taken_back, said[-2] if said[:-1] else None)
        said.remove(taken_back)
        place.state = DONE if place.complete else HELD

    def _keep(self, answer: Answer, conclusion: str = "") -> "_Kept":
        said = datetime.fromtimestamp(self.now.timestamp() - answer.age, UTC)
        kept = _Kept(
            key=answer.key, step=answer.step, verdict=answer.verdict, conclusion=conclusion, note=answer.note.strip(),
            time=said.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), guideline_version=self.domain.guideline_version,
        )  # fmt: skip
        row = {name: getattr(kept, name) for name in kept.__slots__}
        more = {"person": self.person, "kind": answer.kind, "item": answer.item, "seconds": answer.seconds, "undone": 0}
        self.history[answer.key] = row | more
        return kept

    def _now_says(self, number: int, place: _Place, former: Any, row: Any) -> None:
        """From now on the record of the step is that of `row` (None: there is none) instead of that of `former`."""
        step = (row or former).step
        if former is not None and (number, step) not in self.records:
            self.outdated.append(self._record(place, former))
        self.records[number, step] = None if row is None else self._record(place, row)

    def _write(self) -> None:
        if self.history:
            self.connection.execute(self.desk.tables.answers.insert(), list(self.history.values()))
        drop_records(self.connection, self.outdated)
        put_records(self.connection, [record for record in self.records.values() if record is not None])
        for number, place in self.places.items():
            if place.state != place.former:
                take(self.desk, self.connection, self.person, number, place.state, self.until)

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
