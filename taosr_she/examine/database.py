"""Opening the annotation store's database: one SQLite file that many processes may use, or any SQLAlchemy URL.

SQLite runs in WAL mode, in which readers never wait for the writer nor the writer for readers; writers wait for each
other. WAL needs a disk of this machine: on a network share use a database server's URL instead. `synchronous=NORMAL`
survives a killed process; a power cut can cost the last moments, never the file.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from taosr_she.base.errors import UserError
from taosr_she.base.secret import is_masked, masked, without_secrets_of

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine, MetaData, Table
    from sqlalchemy.exc import DatabaseError

T = TypeVar("T")

BUSY_SECONDS = 10.0
"""How long SQLite itself waits for another writer before it reports a lock."""
CACHE_KIB = 65_536
"""Pages that SQLite may keep in memory, for each process: enough for the indices of a million records."""
PATIENCE_SECONDS = 120.0
"""How long an action is repeated, with growing pauses, before it fails with an error."""


def open_engine(url_or_path: str | Path, create: bool) -> "Engine":
    """An engine on a SQLite file (made with its folders if `create`) or a URL, which may be connected to. UserError."""
    engine = _engine(str(url_or_path))
    if engine.dialect.name == "sqlite":
        if create and "://" not in str(url_or_path):
            _make_folder(Path(url_or_path))
        _check_sqlite(engine.url, create)
        _tune_sqlite(engine)
    with told(url_or_path, "cannot be opened", (TypeError, ValueError, LookupError, OSError)), engine.connect():
        pass
    return engine


def check_place(url_or_path: str) -> None:
    """UserError for a place that can never be a store, such as a URL without its driver; connects to nothing."""
    _engine(url_or_path).dispose()


def _engine(text: str) -> "Engine":
    import sqlalchemy
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    if is_masked(text):
        raise UserError(f"annotation store {text}: the URL is masked: put its user, password and query back")
    if "://" not in text:
        path = Path(text)
        if path.is_dir():
            raise UserError(f"annotation store {path}: is a folder; name a file in it, e.g. {path / 'annotations.db'}")
    try:
        url = sqlalchemy.make_url(text) if "://" in text else sqlalchemy.URL.create("sqlite", database=text)
        return sqlalchemy.create_engine(url)
    except (ArgumentError, NoSuchModuleError, ValueError, TypeError) as error:
        raise UserError(
            f"annotation store {masked(text)}: not a database URL that SQLAlchemy knows "
            f"({without_secrets_of(text, str(error))}); give a path for SQLite, or something like "
            "postgresql+psycopg://host/name"
        ) from error
    except ImportError as error:
        raise UserError(
            f"annotation store {masked(text)}: the driver is not installed: {error.name}; pip install it, or name "
            "another one, e.g. postgresql+pg8000://host/name"
        ) from error


def create_tables(engine: "Engine", metadata: "MetaData", name: str | Path) -> None:
    """Create what is missing; processes that come at the same moment wait for each other. Raises UserError."""

    def create() -> None:
        if engine.dialect.name == "sqlite":
            with engine.connect().execution_options(begin="") as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        with begin_write(engine) as connection:
            metadata.create_all(connection)

    with told(name, "cannot be written"):
        patiently(create, name)


def check_table(engine: "Engine", table: "Table", name: str | Path, may_be_missing: bool) -> None:
    """UserError when the database has a table of this name that is not ours, or none, unless it `may_be_missing`."""
    from sqlalchemy import inspect

    with told(name, "cannot be read"):
        found = inspect(engine)
        if not found.has_table(table.name):
            if may_be_missing:
                return
            raise UserError(f"annotation store {masked(str(name))}: holds no annotations (no table `{table.name}`)")
        there = {column["name"] for column in found.get_columns(table.name)}
    missing = [column.name for column in table.columns if column.name not in there]
    if missing:
        raise UserError(
            f"annotation store {masked(str(name))}: its table `{table.name}` is another program's, it lacks "
            f"{', '.join(missing)}; name another database"
        )


@contextmanager
def told(name: str | Path, what: str, more: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Inside, what the database or its driver complains of is a UserError: one line that names the store.

    `more` are errors of drivers that SQLAlchemy does not know as such.
    """
    from sqlalchemy.exc import SQLAlchemyError

    caught: tuple[type[Exception], ...] = (SQLAlchemyError, *more)
    try:
        yield
    except caught as error:
        said = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
        line = without_secrets_of(str(name), said.splitlines()[0])
        raise UserError(f"annotation store {masked(str(name))}: {what}: {line}") from error


def begin_write(engine: "Engine") -> Any:
    """A transaction that is as if it were alone: what it reads stays true until it has written.

    SQLite takes the write lock from its start: a transaction that reads first could not get it later. Other databases
    refuse the second of two that contradict each other, and `patiently` repeats it.
    """
    if engine.dialect.name == "sqlite":
        return engine.execution_options(begin="BEGIN IMMEDIATE").begin()
    return engine.execution_options(isolation_level="SERIALIZABLE").begin()


def patiently(action: Callable[[], T], name: str | Path) -> T:
    """Repeat an action until no other process blocks it. UserError after PATIENCE_SECONDS.

    `action` is one whole transaction, so a second attempt starts again. This also covers two processes that
    insert the same record at once: the second attempt finds the record and updates it.
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
                    f"annotation store {masked(str(name))}: other processes have kept it locked for "
                    f"{PATIENCE_SECONDS:.0f} seconds; end the one that hangs and try again"
                ) from error
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, 1.0)


def _is_contention(error: "DatabaseError") -> bool:
    """Whether another process was quicker, in the words of SQLite, PostgreSQL or MySQL."""
    words = ("locked", "busy", "deadlock", "serializ", "lock wait", "already exists", "unique", "duplicate")
    return any(word in str(error.orig).casefold() for word in words)


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"annotation store {path}: its folder cannot be made ({error.strerror})") from error


def _check_sqlite(url: "URL", create: bool) -> None:
    file = url.database
    if not file or file == ":memory:":
        raise UserError(f"annotation store {masked(str(url))}: a database in memory is gone at the end; name a file")
    if not create and not file.startswith("file:") and not Path(file).is_file():
        raise UserError(f"annotation store {masked(str(url))}: no such file")


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
