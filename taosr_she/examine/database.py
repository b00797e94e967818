"""Opening the annotation store's database: one SQLite file that many processes may use, or any SQLAlchemy URL.

SQLite runs in WAL mode, in which readers never wait for the writer nor the writer for readers; writers wait for each
other. WAL needs a disk of this machine: on a network share use a database server's URL instead. `synchronous=NORMAL`
survives a killed process; a power cut can cost the last moments, never the file.
"""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from taosr_she.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine, MetaData
    from sqlalchemy.exc import DatabaseError

T = TypeVar("T")

BUSY_SECONDS = 10.0
"""How long SQLite itself waits for another writer before it reports a lock."""
CACHE_KIB = 65_536
"""Pages that SQLite may keep in memory, for each process: enough for the indices of a million records."""
PATIENCE_SECONDS = 120.0
"""How long an action is tried again, with growing pauses, before the user is told."""


def open_engine(url_or_path: str | Path) -> "Engine":
    """An engine on a SQLite file (created with its folders when missing) or a URL. Raises UserError."""
    import sqlalchemy
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    text = str(url_or_path)
    if "://" not in text:
        path = Path(text)
        if path.is_dir():
            raise UserError(f"annotation store {path}: is a folder; name a file in it, e.g. {path / 'annotations.db'}")
        path.parent.mkdir(parents=True, exist_ok=True)
        text = f"sqlite:///{path}"
    try:
        url = sqlalchemy.make_url(text)
        engine = sqlalchemy.create_engine(url)
    except (ArgumentError, NoSuchModuleError) as error:
        raise UserError(
            f"annotation store: not a database URL that SQLAlchemy knows ({error}); give a path for SQLite, or "
            "something like postgresql+psycopg://user@host/name"
        ) from error
    except ModuleNotFoundError as error:
        raise UserError(f"annotation store {url.drivername}: the driver is not installed: {error.name}") from error
    if engine.dialect.name == "sqlite":
        _tune_sqlite(engine)
    return engine


def create_tables(engine: "Engine", metadata: "MetaData") -> None:
    """Create what is missing; processes that come at the same moment wait for each other. Raises UserError."""
    from sqlalchemy.exc import DatabaseError

    def create() -> None:
        if engine.dialect.name == "sqlite":
            with engine.connect().execution_options(begin="") as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        with begin_write(engine) as connection:
            metadata.create_all(connection)

    try:
        patiently(create, str(engine.url))
    except DatabaseError as error:
        raise UserError(f"annotation store {engine.url}: cannot be opened: {_first_line(error)}") from error


def begin_write(engine: "Engine") -> Any:
    """A transaction that holds the write lock from its start: one that reads first could not get it later."""
    return engine.execution_options(begin="BEGIN IMMEDIATE").begin()


def patiently(action: Callable[[], T], name: str) -> T:
    """Run an action until no other process stands in its way. UserError after PATIENCE_SECONDS.

    `action` is one whole transaction, so that a second attempt starts afresh. Two processes that insert the same record
    at once are such a case too: the second attempt finds the record and updates it.
    """
    from sqlalchemy.exc import DatabaseError

    start, pause = time.monotonic(), 0.01
    while True:
        try:
            return action()
        except DatabaseError as error:
            if not _is_contention(error):
                raise
            if time.monotonic() - start > PATIENCE_SECONDS:
                raise UserError(
                    f"annotation store {name}: other processes have kept it locked for {PATIENCE_SECONDS:.0f} seconds; "
                    "end the one that hangs and try again"
                ) from error
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, 1.0)


def _is_contention(error: "DatabaseError") -> bool:
    """Whether another process was quicker, in the words of SQLite, PostgreSQL or MySQL."""
    words = ("locked", "busy", "deadlock", "serializ", "lock wait", "already exists", "unique", "duplicate")
    return any(word in str(error.orig).casefold() for word in words)


def _first_line(error: "DatabaseError") -> str:
    return str(error.orig).splitlines()[0]


def _tune_sqlite(engine: "Engine") -> None:
    from sqlalchemy import event

    @event.listens_for(engine, "connect")
    def connect(connection: Any, record: Any) -> None:
        # The driver would begin transactions on its own, and as readers; see `begin` below.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        statement = connection.get_execution_options().get("begin", "BEGIN")
        if statement:  # the journal mode can only be set outside of a transaction
            connection.exec_driver_sql(statement)
