"""A dict of texts in a file on disk, for more entries than fit in memory."""

import sqlite3
from collections.abc import Iterator, MutableMapping
from contextlib import closing
from pathlib import Path

CACHE_KB = 16_000
"""Memory that SQLite may use for pages of a file."""


def scratch(path: Path) -> sqlite3.Connection:
    """A new database for this process alone. It is scratch: a file left by a killed process is replaced, and nothing
    is synced."""
    path.unlink(missing_ok=True)
    base = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", f"cache_size=-{CACHE_KB}"):
        base.execute(f"PRAGMA {pragma}")
    return base


class TextsOnDisk(MutableMapping[str, str]):
    """Text -> text, as a table of a `scratch` database."""

    def __init__(self, base: sqlite3.Connection, table: str) -> None:
        base.execute(f"CREATE TABLE {table} (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
        self._execute = base.execute
        self._get = f"SELECT value FROM {table} WHERE key = ?"
        self._set = f"REPLACE INTO {table} VALUES (?, ?)"
        self._delete = f"DELETE FROM {table} WHERE key = ?"
        self._keys = f"SELECT key FROM {table}"
        self._count = f"SELECT count(*) FROM {table}"

    def __getitem__(self, key: str) -> str:
        found = self._execute(self._get, (key,)).fetchone()
        if found is None:
            raise KeyError(key)
        return str(found[0])

    def __setitem__(self, key: str, value: str) -> None:
        self._execute(self._set, (key, value))

    def __delitem__(self, key: str) -> None:
        if not self._execute(self._delete, (key,)).rowcount:
            raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        with closing(self._execute(self._keys)) as keys:
            for (key,) in keys:
                yield key

    def __len__(self) -> int:
        return int(self._execute(self._count).fetchone()[0])
