"""The desk: an annotation store opened for the page, with the tables that the page needs beside the annotations.

`Desk.read` and `Desk.write` are the only ways to the database. Everything that belongs together is one transaction, so
a server that is killed leaves either all of it or nothing.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from taosr_she.annotate.tables import VERSION, Tables, tables
from taosr_she.base.errors import UserError
from taosr_she.base.escape import one_line
from taosr_she.domain.domain import Domain
from taosr_she.examine.database import begin_write, check_table, create_tables, patiently, told
from taosr_she.examine.store import AnnotationStore

if TYPE_CHECKING:
    from sqlalchemy import Connection

T = TypeVar("T")
FIXED = ("labels", "steps")
"""Parts of the domain that cannot change while a store has items: the items are made of them."""


class Desk:
    """An annotation store with the tables of the page; a store without them gets them.

    >>> with Desk("people.db") as desk:                                                   # doctest: +SKIP
    ...     desk.use_domain(load_domain("taobao"))                                        # doctest: +SKIP
    """

    def __init__(self, url_or_path: str | Path, create: bool = True) -> None:
        """Raises UserError if the database cannot be opened, or its tables are another version's or program's."""
        self.store = AnnotationStore(url_or_path, create)
        self.tables: Tables = tables()
        self._writing = threading.Lock()  # threads of this process wait here instead of polling SQLite's lock
        name = self.store.name
        for table in self.tables.metadata.sorted_tables:
            check_table(self.store.engine, table, name, may_be_missing=True)
        create_tables(self.store.engine, self.tables.metadata, name)
        found = self.write(self._version)
        if found != VERSION:
            self.close()
            raise UserError(
                f"annotation store {name}: its page tables have version {found}, this program knows {VERSION}; use the "
                "program that made it, or move the annotations with `taosr-she annotations export` into a new store"
            )

    def __enter__(self) -> "Desk":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give back the connections."""
        self.store.close()

    def read(self, action: Callable[["Connection"], T]) -> T:
        """What `action` returns, within one reading transaction."""

        def reading() -> T:
            with self.store.engine.connect() as connection:
                return action(connection)

        with told(self.store.name, "cannot be read"):
            return patiently(reading, self.store.name)

    def write(self, action: Callable[["Connection"], T]) -> T:
        """What `action` returns, within one writing transaction. It may run again if another process was quicker."""

        def writing() -> T:
            with begin_write(self.store.engine) as connection:
                return action(connection)

        with told(self.store.name, "cannot be written"), self._writing:
            return patiently(writing, self.store.name)

    def fact(self, name: str) -> str | None:
        """A fact about the store, or None."""
        return self.read(lambda connection: self._fact(connection, name))

    def set_fact(self, name: str, value: str) -> None:
        """Keep a fact about the store."""
        self.write(lambda connection: self._set_fact(connection, name, value))

    def domain(self) -> Domain:
        """The domain of the store's items. Raises UserError if it has none yet."""
        kept = self.fact("domain")
        if kept is None:
            raise UserError(
                f"annotation store {self.store.name}: nothing to annotate in it; add responses with "
                "`taosr-she annotate queue`"
            )
        return Domain.model_validate_json(kept)

    def use_domain(self, domain: Domain) -> None:
        """Take the domain for the store's items; a later one may have other rules and guides, under another version.

        Raises UserError if its labels or steps differ from those of the items, or if it differs in anything else
        although its `guideline_version` is the same: a verdict names the version by which it was given.
        """
        kept = self.fact("domain")
        if kept is not None:
            old, new = Domain.model_validate_json(kept), domain
            if any(_shape(old, part) != _shape(new, part) for part in FIXED):
                raise UserError(
                    f"annotation store {self.store.name}: its items are of domain '{one_line(old.name)}', which has "
                    f"other steps or labels than '{one_line(new.name)}'; use another store"
                )
            if old != new and old.guideline_version == new.guideline_version:
                raise UserError(
                    f"domain '{one_line(new.name)}' differs from the one in annotation store {self.store.name}, but "
                    f"both have guideline_version {one_line(new.guideline_version)}: give it another version"
                )
        self.set_fact("domain", domain.model_dump_json())

    def _version(self, connection: "Connection") -> str:
        found = self._fact(connection, "version")
        if found is None:
            self._set_fact(connection, "version", VERSION)
        return found or VERSION

    def _fact(self, connection: "Connection", name: str) -> str | None:
        from sqlalchemy import select

        facts = self.tables.facts
        return connection.execute(select(facts.c.value).where(facts.c.name == name)).scalar_one_or_none()

    def _set_fact(self, connection: "Connection", name: str, value: str) -> None:
        facts = self.tables.facts
        connection.execute(facts.delete().where(facts.c.name == name))
        connection.execute(facts.insert(), {"name": name, "value": value})


def _shape(domain: Domain, part: str) -> list[tuple[object, ...]]:
    """What the items are made of: codes of grades; keys, forms and choices of steps."""
    if part == "labels":
        return [(grade.code,) for grade in domain.labels]
    return [(step.key, step.kind, step.form, step.choices, step.keys) for step in domain.steps]
