"""The pool: who gets which item, for how long, and how it comes back.

A person holds an item for the time of a lease; every call for more renews it. When a lease ends, or the person leaves
the item, somebody else can get it. An answer that comes late, from a page that was offline, still
counts (see `answers`).

Gold items are mixed in: each of a person's items is gold with the store's share, decided by chance from the person and
the number of the item, so nobody can tell which.
"""

import time
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from taosr_she.annotate.desk import Desk
from taosr_she.annotate.items import Item, add_items, digest_of, load_items
from taosr_she.annotate.tables import DONE, GOLD, HELD, LAPSED, LEFT, WORK

if TYPE_CHECKING:
    from sqlalchemy import Connection

LEASE_SECONDS = 1800.0
MOST_HELD = 50  # items that one person can hold
GOLD_SHARE = "gold_share"
"""The fact of the store that says which share of a person's items is gold."""
RELEASE = 200  # lapsed leases that one call gives back at most


def hand_out(
    desk: Desk,
    person: str,
    count: int,
    again: bool = False,
    lease: float = LEASE_SECONDS,
    now: float | None = None,
) -> dict[int, Item]:
    """The items that the person holds, topped up to `count` from the pool, by number in the order they were given.

    With `again`, also those that the person left before. Nobody gets an item twice, and a double item goes to two
    different people.
    """
    moment = time.time() if now is None else now
    count = min(count, MOST_HELD)

    def look(connection: "Connection") -> tuple[list[int], bool]:
        held = _held(desk, connection, person)
        return [row.item for row in held], any(row.until < moment + lease / 2 for row in held)

    def top_up(connection: "Connection") -> dict[int, Item]:
        assignments = desk.tables.assignments
        _release(desk, connection, moment)
        connection.execute(
            assignments.update()
            .where(assignments.c.person == person, assignments.c.state == HELD)
            .values(until=moment + lease)
        )
        held = [row.item for row in _held(desk, connection, person)]
        for pool in _pools(desk, connection, person, count - len(held)):
            found = _pick(desk, connection, person, pool, again)
            if found is None and pool == GOLD:
                found = _pick(desk, connection, person, WORK, again)
            if found is None:
                break
            _assign(desk, connection, person, found, moment + lease)
            held.append(found)
        return load_items(desk, connection, held)

    held, ageing = desk.read(look)
    if len(held) >= count and not ageing:
        items = desk.read(lambda connection: load_items(desk, connection, held))
    else:
        items = desk.write(top_up)
        held = desk.read(look)[0]
    return {number: items[number] for number in held if number in items}


def take(desk: Desk, connection: "Connection", person: str, item: int, state: str, until: float) -> str | None:
    """Put the person's assignment of the item into `state`; returns its former state, None if it was never theirs.

    Keeps the number of people who have the item, by which it is in the pool or not.
    """
    from sqlalchemy import select

    assignments = desk.tables.assignments
    mine = (assignments.c.person == person, assignments.c.item == item)
    former = connection.execute(select(assignments.c.state).where(*mine)).scalar_one_or_none()
    if former is None:
        return None
    connection.execute(assignments.update().where(*mine).values(state=state, until=until))
    _count(desk, connection, item, (state in (HELD, DONE)) - (former in (HELD, DONE)))
    return former


def offer(desk: Desk, items: Sequence[Item]) -> None:
    """Put items into the pool before all others; those that were withdrawn are offered again."""
    from sqlalchemy import case

    table = desk.tables.items
    add_items(desk, items, first=True)
    withdrawn = (table.c.digest.in_([digest_of(item) for item in items]), table.c.wanted == 0)
    again = table.update().where(*withdrawn).values(wanted=1, open=case((table.c.taken < 1, 1), else_=0))
    desk.write(lambda connection: connection.execute(again))


def withdraw(desk: Desk, digests: Sequence[str]) -> None:
    """Offer these items (`digest_of`) to nobody any more. Who holds one can still answer it, and that counts."""
    table = desk.tables.items
    named = table.c.digest.in_(list(digests))
    desk.write(lambda connection: connection.execute(table.update().where(named).values(wanted=0, open=0)))


def _held(desk: Desk, connection: "Connection", person: str) -> list[Any]:
    from sqlalchemy import select

    a = desk.tables.assignments
    query = select(a.c.item, a.c.until).where(a.c.person == person, a.c.state == HELD).order_by(a.c.id)
    return list(connection.execute(query).all())


def _release(desk: Desk, connection: "Connection", moment: float) -> None:
    """Give items back whose lease has ended."""
    from sqlalchemy import select

    a = desk.tables.assignments
    query = select(a.c.id, a.c.item).where(a.c.state == HELD, a.c.until < moment).limit(RELEASE)
    for row in connection.execute(query).all():
        connection.execute(a.update().where(a.c.id == row.id).values(state=LAPSED))
        _count(desk, connection, row.item, -1)


def _pools(desk: Desk, connection: "Connection", person: str, missing: int) -> list[str]:
    """Where each of the missing items comes from."""
    from sqlalchemy import func, select

    if missing <= 0:
        return []
    facts, a = desk.tables.facts, desk.tables.assignments
    share = connection.execute(select(facts.c.value).where(facts.c.name == GOLD_SHARE)).scalar_one_or_none()
    if share is None:
        return [WORK] * missing
    given = connection.execute(select(func.count()).select_from(a).where(a.c.person == person)).scalar_one()
    chances = (Random(f"gold {person} {given + n}").random() for n in range(missing))
    return [GOLD if chance < float(share) else WORK for chance in chances]


def _pick(desk: Desk, connection: "Connection", person: str, pool: str, again: bool) -> int | None:
    """The first open item of the pool that this person may get."""
    from sqlalchemy import exists, select

    items, a = desk.tables.items, desk.tables.assignments
    barred = (HELD, DONE) if again else (HELD, DONE, LEFT)
    mine = exists().where(a.c.person == person, a.c.item == items.c.id, a.c.state.in_(barred))
    query = (
        select(items.c.id)
        .where(items.c.pool == pool, items.c.open == 1, ~mine)
        .order_by(items.c.place)
        .limit(1)
        .with_for_update(skip_locked=True)  # of a database server; SQLite has one writer anyway
    )
    return connection.execute(query).scalar_one_or_none()


def _assign(desk: Desk, connection: "Connection", person: str, item: int, until: float) -> None:
    if take(desk, connection, person, item, HELD, until) is None:
        row = {"person": person, "item": item, "state": HELD, "until": until}
        connection.execute(desk.tables.assignments.insert(), row)
        _count(desk, connection, item, +1)


def _count(desk: Desk, connection: "Connection", item: int, change: int) -> None:
    from sqlalchemy import case

    if change:
        items = desk.tables.items
        taken = items.c.taken + change
        is_open = case((taken < items.c.wanted, 1), else_=0)
        connection.execute(items.update().where(items.c.id == item).values(taken=taken, open=is_open))
