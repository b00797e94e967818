"""Annotators and leads. Each has a link of their own with a secret token; the store keeps only the token's hash."""

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from taosr_she.annotate.desk import Desk
from taosr_she.base.errors import UserError
from taosr_she.base.escape import one_line
from taosr_she.examine.majority import MACHINE, SETTLED
from taosr_she.examine.store import MAX_ID

if TYPE_CHECKING:
    from sqlalchemy import Connection

Role = Literal["annotator", "lead"]
TOKEN_BYTES = 24  # of randomness: nobody guesses it, so a plain hash is enough


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a link."""

    name: str
    role: Role
    active: bool = True


def add_person(desk: Desk, name: str, role: Role = "annotator") -> str:
    """A new token for this person, who is added if unknown; former tokens of theirs stop working.

    Raises UserError for a name that cannot be an annotator's.
    """
    name = name.strip()
    _check(name)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    people = desk.tables.people

    def add(connection: "Connection") -> None:
        connection.execute(people.delete().where(people.c.name == name))
        connection.execute(people.insert(), {"name": name, "token": _hash(token), "role": role, "active": 1})

    desk.write(add)
    return token


def remove_person(desk: Desk, name: str) -> None:
    """The person's link stops working; what they said stays. Raises UserError if there is no such person."""
    people = desk.tables.people
    changed = desk.write(
        lambda connection: connection.execute(people.update().where(people.c.name == name).values(active=0)).rowcount
    )
    if not changed:
        raise UserError(f"annotation store {desk.store.name}: no person '{one_line(name)}' in it")


def all_people(desk: Desk) -> list[Person]:
    """Everybody, by name."""
    people = desk.tables.people
    rows = desk.read(lambda connection: connection.execute(people.select().order_by(people.c.name)).all())
    return [Person(row.name, row.role, bool(row.active)) for row in rows]


def find_person(desk: Desk, token: str) -> Person | None:
    """Whose token this is; None if nobody's, or if it has been withdrawn."""
    people = desk.tables.people
    hashed = _hash(token)
    row = desk.read(
        lambda connection: connection.execute(people.select().where(people.c.token == hashed)).one_or_none()
    )
    return Person(row.name, row.role) if row is not None and row.active else None


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _check(name: str) -> None:
    shown = one_line(name)
    if not name or len(name) > MAX_ID or shown != name:
        raise UserError(f"annotator '{shown[:40]}': a name has 1 to {MAX_ID} characters, none of them invisible")
    for prefix, whose in ((MACHINE, "programs"), (SETTLED, "decisions of a lead")):
        if name.startswith(prefix):
            raise UserError(f"annotator '{name}': names with '{prefix}' belong to {whose}; use another name")
