"""What the lead sees: progress, people, agreement, and disagreements to settle.

A decision of the lead is an answer like any other, by `settled:NAME`: the majority then follows it (see
`examine.majority`), and agreement leaves it out.
"""

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from taosr_she.annotate.answers import take_in
from taosr_she.annotate.desk import Desk
from taosr_she.annotate.items import Item, load_items
from taosr_she.annotate.people import all_people
from taosr_she.annotate.shown import shown_item
from taosr_she.annotate.tables import DONE, GOLD, HELD, LAPSED, LEFT
from taosr_she.annotate.wire import Answer, Saved
from taosr_she.annotate.wire_lead import (
    Agreement,
    Disagreement,
    Disagreements,
    Imported,
    Overview,
    PeopleAgree,
    PersonRow,
    ReasonRow,
    Voice,
)
from taosr_she.base.escape import plain
from taosr_she.domain.conclusions import canonical
from taosr_she.domain.domain import Domain
from taosr_she.examine.agreement import ALL_STEPS, annotator_report, pair_agreement, what_cannot_be_said
from taosr_she.examine.hybrid import RIGHT
from taosr_she.examine.majority import SETTLED

if TYPE_CHECKING:
    from sqlalchemy import Connection

RECENT = 500
"""A person's speed, and how often they overrule the GSRM, are those of their latest judgements, this many."""
SHOWN = 50  # disagreements at a time


def overview(desk: Desk) -> Overview:
    """Progress by policy, and every person's work."""
    return desk.read(lambda connection: _overview(desk, connection, desk.store.by_annotator()))


def agreement(desk: Desk, domain: Domain) -> Agreement:
    """How well people agree on what more than one of them judged, blind to each other."""
    shared = desk.store.shared()
    reports, pairs = annotator_report(domain, shared), pair_agreement(domain, shared)
    return Agreement(
        pairs=[
            PeopleAgree(
                first=plain(p.first), second=plain(p.second), step=p.step, items=p.items, raw=p.raw,
                kappa=_known(p.kappa), base=_known(p.base), weighted=_known(p.weighted),
            )
            for p in pairs
        ],
        outliers=[plain(r.annotator) for r in reports if r.outlier],
        with_others={plain(r.annotator): r.agreement for r in reports if r.items},
        notes=what_cannot_be_said(domain, shared, reports, pairs) if reports else [
            "no two annotators have judged the same step yet: queue items with --double to have some judged twice"
        ],
        all_steps=ALL_STEPS,
    )  # fmt: skip


def disagreements(desk: Desk, domain: Domain) -> Disagreements:
    """Steps on which people differ and which no lead has settled, oldest first, at most SHOWN."""
    return desk.read(lambda connection: _disagreements(desk, domain, connection))


def settle(desk: Desk, domain: Domain, lead: str, answers: list[Answer]) -> Saved:
    """Keep a lead's decisions; an `undo` takes one back."""
    person, a = f"{SETTLED}{lead}", desk.tables.assignments
    numbers = {answer.item for answer in answers}

    def hand_over(connection: "Connection") -> None:
        known = load_items(desk, connection, numbers)
        mine = a.select().where(a.c.person == person, a.c.item.in_(list(known)))
        there = {row.item for row in connection.execute(mine).all()}
        rows = [{"person": person, "item": n, "state": LAPSED, "until": 0.0} for n in known if n not in there]
        if rows:
            connection.execute(a.insert(), rows)

    desk.write(hand_over)
    return take_in(desk, domain, person, answers, lease=0.0)


def _overview(desk: Desk, connection: "Connection", records: Mapping[str, int]) -> Overview:
    from sqlalchemy import func, select

    items, a = desk.tables.items, desk.tables.assignments
    counted = select(items.c.reason, items.c.pool, func.count(), func.sum(items.c.wanted)).group_by(
        items.c.reason, items.c.pool
    )
    states = (
        select(items.c.reason, a.c.state, func.count())
        .join(items, items.c.id == a.c.item)
        .where(~a.c.person.startswith(SETTLED))
        .group_by(items.c.reason, a.c.state)
    )
    by_state: dict[str, dict[str, int]] = defaultdict(dict)
    for reason, state, count in connection.execute(states).all():
        by_state[reason][state] = count
    reasons = [
        ReasonRow(
            reason=reason, items=count, wanted=None if pool == GOLD else int(wanted),
            done=by_state[reason].get(DONE, 0), held=by_state[reason].get(HELD, 0), left=by_state[reason].get(LEFT, 0),
        )
        for reason, pool, count, wanted in connection.execute(counted).all()
    ]  # fmt: skip
    people = [_person(desk, connection, p.name, p.role, p.active) for p in all_people(desk)]
    here = {p.name for p in all_people(desk)}
    imported = [
        Imported(name=plain(name), records=count)
        for name, count in records.items()
        if name not in here and not name.startswith(SETTLED)
    ]
    return Overview(reasons=sorted(reasons, key=lambda row: row.reason), people=people, imported=imported)


def _person(desk: Desk, connection: "Connection", name: str, role: Any, active: bool) -> PersonRow:
    from sqlalchemy import func, select

    a, answers = desk.tables.assignments, desk.tables.answers
    done = select(func.count()).select_from(a).where(a.c.person == name, a.c.state == DONE)
    mine = (answers.c.person == name, answers.c.kind == "judge", answers.c.undone == 0)
    judged = select(func.count()).select_from(answers).where(*mine)
    recent = connection.execute(select(answers).where(*mine).order_by(answers.c.id.desc()).limit(RECENT)).all()
    items = load_items(desk, connection, {row.item for row in recent})
    gold_right, gold = _gold(desk, connection, name)
    verdicts = [(row, items[row.item].examined.get(row.step)) for row in recent if row.item in items]
    compared = [
        (row.verdict == "correct") == (value >= RIGHT)
        for row, value in verdicts
        if value is not None and row.verdict in ("correct", "wrong") and items[row.item].kind == "verdict"
    ]
    seconds = [row.seconds for row in recent if row.seconds > 0]
    return PersonRow(
        name=plain(name), role=role, active=active,
        items_done=connection.execute(done).scalar_one(), steps_judged=connection.execute(judged).scalar_one(),
        last=recent[0].time if recent else "",
        seconds=statistics.median(seconds) if seconds else None,
        abstained=sum(row.verdict not in ("correct", "wrong") for row in recent) / len(recent) if recent else None,
        gold_right=gold_right, gold=gold, overruled=compared.count(False), compared=len(compared),
    )  # fmt: skip


def _gold(desk: Desk, connection: "Connection", name: str) -> tuple[int, int]:
    """(right, all) of the person's latest verdicts on steps whose verdict was known beforehand."""
    from sqlalchemy import select

    items, answers = desk.tables.items, desk.tables.answers
    query = (
        select(answers.c.item, answers.c.step, answers.c.verdict, items.c.gold)
        .join(items, items.c.id == answers.c.item)
        .where(answers.c.person == name, answers.c.kind == "judge", answers.c.undone == 0, items.c.pool == GOLD)
        .order_by(answers.c.id)
    )
    latest = {(row.item, row.step): (row.verdict, row.gold) for row in connection.execute(query).all()}
    known = [(said, json.loads(gold).get(step)) for (_, step), (said, gold) in latest.items()]
    sure = [(said, truth) for said, truth in known if truth is not None and said in ("correct", "wrong")]
    return sum(said == truth for said, truth in sure), len(sure)


def _disagreements(desk: Desk, domain: Domain, connection: "Connection") -> Disagreements:
    from sqlalchemy import distinct, func, select

    a = desk.tables.answers
    mine = (a.c.kind == "judge", a.c.undone == 0, a.c.verdict.in_(("correct", "wrong")))
    several = func.count(distinct(a.c.person)) > 1
    differ = func.count(distinct(a.c.verdict + a.c.conclusion)) > 1
    numbers = select(a.c.item).where(*mine).group_by(a.c.item, a.c.step).having(several, differ)
    candidates = list(dict.fromkeys(connection.execute(numbers.order_by(a.c.item)).scalars()))
    found: list[Disagreement] = []
    total = 0
    for start in range(0, len(candidates), 100):
        chunk = candidates[start : start + 100]
        said: dict[int, dict[str, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
        rows = connection.execute(
            select(a).where(a.c.item.in_(chunk), a.c.kind == "judge", a.c.undone == 0).order_by(a.c.id)
        )
        for row in rows.all():
            said[row.item][row.step][row.person] = row  # the latest stays
        for number, item in load_items(desk, connection, chunk).items():
            for step, by_person in said[number].items():
                if _open(domain, item, step, by_person):
                    total += 1
                    if len(found) < SHOWN:
                        found.append(_disagreement(domain, number, item, step, by_person))
    return Disagreements(disagreements=found, total=total)


def _open(domain: Domain, item: Item, step: str, by_person: Mapping[str, Any]) -> bool:
    """Whether people differ about the step and no lead has settled it."""
    if any(person.startswith(SETTLED) for person in by_person):
        return False
    spec = domain.steps[domain.step_keys.index(step)]
    values = {
        canonical(domain, spec, row.conclusion) if item.kind == "reference" else row.verdict
        for row in by_person.values()
        if row.verdict in ("correct", "wrong")
    }
    return len(values) > 1


def _disagreement(domain: Domain, number: int, item: Item, step: str, by_person: Mapping[str, Any]) -> Disagreement:
    return Disagreement(
        item=shown_item(domain, number, item, {}),
        step=step,
        voices=[
            Voice(
                person=plain(person), verdict=row.verdict, conclusion=plain(row.conclusion), note=plain(row.note),
                guideline_version=plain(row.guideline_version),
            )
            for person, row in sorted(by_person.items())
        ],
    )  # fmt: skip


def _known(value: float) -> float | None:
    return None if value != value else value
