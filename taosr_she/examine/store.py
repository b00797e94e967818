"""The annotation store: annotations of steps, in one SQLite file or any database that SQLAlchemy supports.

Lookups use indices and fetch only the requested records. The store only keeps records; `majority` combines those of
several people.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from taosr_she.base.errors import UserError
from taosr_she.base.secret import masked
from taosr_she.domain.annotation import FIELDS, is_reference, normal_text, read_annotations
from taosr_she.domain.pair import Annotation
from taosr_she.examine.database import begin_write, check_table, create_tables, open_engine, patiently, told

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, Table

Kind = Literal["reference", "verdict"]
WRITE_CHUNK = 1000  # records in a transaction: long enough to be quick, short enough that other writers get in
LOOKUP_CHUNK = 500  # values in one IN: below the limit on parameters of every database
MAX_ID = 255  # characters of the indexed columns


class Place(NamedTuple):
    """What a verdict applies to: any text that equals `text` but for case and white space."""

    pair_id: str
    step: str
    text: str


STORE_ENDINGS = (".db", ".sqlite", ".sqlite3")


def open_annotations(source: str | Path) -> "AnnotationStore | list[Annotation]":
    """Annotations: a store (a URL, or a file that ends in .db, .sqlite or .sqlite3), or the records of a JSONL file.
    Raises UserError if the file does not exist: opening a store for reading must not create an empty one.
    """
    text = str(source)
    if "://" not in text and not Path(text).is_file():
        raise UserError(f"annotations {text}: {'is a folder, name a file' if Path(text).is_dir() else 'no such file'}")
    if "://" in text or text.endswith(STORE_ENDINGS):
        return AnnotationStore(source, create=False)
    return read_annotations(Path(text))


def read_all(source: str | Path) -> list[Annotation]:
    """Every record of what `open_annotations` opens."""
    opened = open_annotations(source)
    if not isinstance(opened, AnnotationStore):
        return opened
    with opened:
        return list(opened.select())


class AnnotationStore:
    """Annotations in a database; safe to share between processes (each opens its own).

    >>> with AnnotationStore("annotations.db") as store:                                # doctest: +SKIP
    ...     store.add([Annotation("p1", "category", "same", annotator="ann")])           # doctest: +SKIP
    ...     store.references(["p1"])                                                      # doctest: +SKIP
    """

    def __init__(self, url_or_path: str | Path, create: bool = True) -> None:
        """Open the store; with `create`, create what is missing. A text with "://" is a URL.

        Without `create` nothing is written, so a read-only file is enough. Raises UserError if the store cannot be
        opened, and in every method if the database fails later.
        """
        self._table, self._name = _table(), url_or_path
        self._engine = open_engine(url_or_path, create)
        check_table(self._engine, self._table, self._name, may_be_missing=create)
        if create:
            create_tables(self._engine, self._table.metadata, self._name)

    @property
    def engine(self) -> "Engine":
        """The database, for tables that others keep beside the annotations."""
        return self._engine

    @property
    def name(self) -> str:
        """The path or URL, without secrets."""
        return masked(str(self._name))

    def __enter__(self) -> "AnnotationStore":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give back the connections. The store opens them again when it is used again."""
        self._engine.dispose()

    def add(self, annotations: Iterable[Annotation]) -> int:
        """Keep annotations; returns how many are new, the others having updated a record.

        An annotator who says the same (but for case and white space) about the same step again, in the same response,
        updates the record, which then counts as the latest. Written 1,000 at a time, each batch whole or not at all.
        """
        new, rest = 0, iter(annotations)
        while batch := list(islice(rest, WRITE_CHUNK)):
            # The last of equal keys wins, and keeps its position.
            rows: dict[Any, dict[str, Any]] = {}
            for row in map(_row, batch):
                rows.pop(row["key"], None)
                rows[row["key"]] = row
            new += self._write(list(rows.values()))
        return new

    def count(
        self,
        pair_id: str | None = None,
        step: str | None = None,
        annotator: str | None = None,
        kind: Kind | None = None,
    ) -> int:
        """How many records fit all that is given."""
        from sqlalchemy import func, select

        query = select(func.count()).select_from(self._table).where(*self._conditions(pair_id, step, annotator, kind))
        return self._read(query)[0][0]

    def by_annotator(self) -> dict[str, int]:
        """Annotator -> number of their records, by name."""
        from sqlalchemy import func, select

        name = self._table.c.annotator
        return dict(self._read(select(name, func.count()).group_by(name).order_by(name)))  # type: ignore[arg-type]

    def select(
        self,
        pair_id: str | None = None,
        step: str | None = None,
        annotator: str | None = None,
        kind: Kind | None = None,
    ) -> Iterator[Annotation]:
        """All matching records, in the order in which they were last given; a lazy snapshot."""
        query = self._query().where(*self._conditions(pair_id, step, annotator, kind))
        with told(self._name, "cannot be read"), self._engine.connect() as connection:
            for row in connection.execution_options(yield_per=WRITE_CHUNK).execute(query):
                yield self._annotation(row)

    def references(self, pair_ids: Collection[str]) -> list[Annotation]:
        """The references of these pairs, in the order in which they were last given."""
        column = self._table.c.pair_id
        chunks = _chunks(list(dict.fromkeys(pair_ids)))
        return [a for chunk in chunks for a in self._fetch(column.in_(chunk), self._table.c.reference == 1)]

    def verdicts(self, places: Collection[Place]) -> list[Annotation]:
        """The verdicts that apply to these texts, in the order in which they were last given."""
        column = self._table.c.place
        chunks = _chunks(list(dict.fromkeys(_place(*place) for place in places)))
        return [a for chunk in chunks for a in self._fetch(column.in_(chunk), self._table.c.reference == 0)]

    def of_pairs(self, pair_ids: Collection[str]) -> list[Annotation]:
        """All records of these pairs, references and verdicts; those of one pair in the order in which they were last
        given."""
        column = self._table.c.pair_id
        chunks = _chunks(list(dict.fromkeys(pair_ids)))
        return [a for chunk in chunks for a in self._fetch(column.in_(chunk))]

    def latest(self) -> int:
        """A number that grows whenever a record is kept; 0 without any record."""
        from sqlalchemy import func, select

        return self._read(select(func.max(self._table.c.id)))[0][0] or 0

    def shared(self) -> list[Annotation]:
        """The records about which agreement can be computed: on a reference of a step of a pair, or on a text of it,
        of which more than one annotator spoke. In the order in which they were last given."""
        from sqlalchemy import and_, distinct, func, select

        t = self._table
        several = func.count(distinct(t.c.annotator)) > 1
        texts = select(t.c.place).where(t.c.reference == 0).group_by(t.c.place).having(several).subquery()
        steps = (
            select(t.c.pair_id, t.c.step)
            .where(t.c.reference == 1)
            .group_by(t.c.pair_id, t.c.step)
            .having(several)
            .subquery()
        )
        alike = and_(t.c.pair_id == steps.c.pair_id, t.c.step == steps.c.step, t.c.reference == 1)
        columns = [t.c[name] for name in FIELDS]
        judged = select(t.c.id, *columns).join(texts, and_(t.c.place == texts.c.place, t.c.reference == 0))
        referred = select(t.c.id, *columns).join(steps, alike)
        rows = [*self._read(judged), *self._read(referred)]
        return [self._annotation(row[1:]) for row in sorted(rows, key=lambda row: row[0])]

    def _query(self) -> "Select[Any]":
        from sqlalchemy import select

        return select(*(self._table.c[name] for name in FIELDS)).order_by(self._table.c.id)

    def _fetch(self, *conditions: "ColumnElement[bool]") -> list[Annotation]:
        return [self._annotation(row) for row in self._read(self._query().where(*conditions))]

    def _annotation(self, row: Sequence[Any]) -> Annotation:
        values = tuple(row)
        if not all(isinstance(value, str) for value in values):
            raise UserError(f"annotation store {masked(str(self._name))}: damaged: a record holds {values!r}")
        return Annotation(*values)

    def _read(self, query: "Select[Any]") -> Sequence["Row[Any]"]:
        def read() -> Sequence["Row[Any]"]:
            with self._engine.connect() as connection:
                return connection.execute(query).all()

        with told(self._name, "cannot be read"):
            return patiently(read, self._name)

    def _conditions(
        self, pair_id: str | None, step: str | None, annotator: str | None, kind: Kind | None
    ) -> list["ColumnElement[bool]"]:
        wanted = {"pair_id": pair_id, "step": step, "annotator": annotator}
        conditions = [self._table.c[name] == value for name, value in wanted.items() if value is not None]
        return conditions if kind is None else [*conditions, self._table.c.reference == int(kind == "reference")]

    def _write(self, rows: list[dict[str, Any]]) -> int:
        def replace() -> int:
            with begin_write(self._engine) as connection:
                return _replace(connection, rows)

        with told(self._name, "cannot be written"):
            return patiently(replace, self._name)


def put_records(connection: "Connection", annotations: Sequence[Annotation]) -> None:
    """Keep annotations within the caller's transaction; the last of those with the same key counts."""
    rows = {row["key"]: row for row in map(_row, annotations)}
    if rows:
        _replace(connection, list(rows.values()))


def drop_records(connection: "Connection", annotations: Sequence[Annotation]) -> None:
    """Forget these records, if they are there, within the caller's transaction."""
    for chunk in _chunks([_row(a)["key"] for a in annotations]):
        connection.execute(_table().delete().where(_table().c.key.in_(chunk)))


def _replace(connection: "Connection", rows: list[dict[str, Any]]) -> int:
    """Returns how many rows are new. Delete and insert instead of an upsert: the same on every database, and the new
    row is the latest."""
    replaced = 0
    for chunk in _chunks([row["key"] for row in rows]):
        replaced += connection.execute(_table().delete().where(_table().c.key.in_(chunk))).rowcount
    connection.execute(_table().insert(), rows)
    return len(rows) - replaced


@cache
def _table() -> "Table":
    from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, SmallInteger, String, Table, Text

    long = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up by itself only in a plain INTEGER
    short = {"pair_id": String(MAX_ID), "step": String(MAX_ID), "annotator": String(MAX_ID)}
    return Table(
        "annotations",
        MetaData(),
        Column("id", long, primary_key=True, autoincrement=True),
        Column("key", String(32), nullable=False, unique=True),  # annotator, step and response, hashed
        Column("place", String(32), nullable=False),  # pair, step and normal text
        Column("reference", SmallInteger, nullable=False),
        *(Column(name, short.get(name, Text()), nullable=False) for name in FIELDS),
        Index("annotations_by_pair", "pair_id", "reference"),
        Index("annotations_by_place", "place"),
        sqlite_autoincrement=True,  # a deleted last row's id is not used again
    )


def _row(annotation: Annotation) -> dict[str, Any]:
    a = annotation
    for name, value in (("pair_id", a.pair_id), ("step", a.step), ("annotator", a.annotator)):
        if len(value) > MAX_ID:
            raise UserError(f"annotation of pair '{a.pair_id[:40]}': {name} is longer than {MAX_ID} characters")
    reference = is_reference(a)
    key = _digest(a.pair_id, a.step, a.annotator, a.response_id, normal_text(a.conclusion))
    values = {name: getattr(a, name) for name in FIELDS}
    return {"key": key, "place": _place(a.pair_id, a.step, a.conclusion), "reference": int(reference), **values}


def _place(pair_id: str, step: str, text: str) -> str:
    return _digest(pair_id, step, normal_text(text))


def _digest(*parts: str) -> str:
    # With lengths in front, different lists of parts never give the same text.
    joined = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.blake2b(joined.encode(), digest_size=16).hexdigest()


def _chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    return (values[i : i + LOOKUP_CHUNK] for i in range(0, len(values), LOOKUP_CHUNK))
