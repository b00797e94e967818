"""The file from which a killed run resumes: every answer that was paid for, one JSON object per line."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.base.files import dumps
from taosr_she.endpoint.budget import Usage

OUTCOMES = ("kept", "wrong", "refused", "lost")


@dataclass(frozen=True)
class Record:
    """One request and its result.

    `kept`: a usable answer, which decides its question for good. `wrong`: an unusable answer, see `reason`. `refused`:
    the endpoint did not accept the question; this costs nothing, and the next run asks again. `lost`: sent, but no
    answer came back; it may have been billed, so it is counted at its maximum cost.
    """

    pair_id: str
    key: str  # fingerprint of the question: with another pair, label, rule book or model it is asked again
    outcome: str
    response: str
    reason: str
    tokens_in: int
    tokens_out: int
    cost: float
    estimated: bool  # the tokens were not in the answer
    max_tokens: int = 0  # of the request; missing in files of earlier versions

    @property
    def usage(self) -> Usage:
        """The tokens and cost of the request."""
        return Usage(self.tokens_in, self.tokens_out, self.cost)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "str": lambda v: isinstance(v, str),
    "int": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "float": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "bool": lambda v: isinstance(v, bool),
}


class RecordFile:
    """An append-only file of records. Only one process may write it at a time; its threads share this object."""

    def __init__(self, path: Path) -> None:
        """Read the file. A last line cut short by a kill is removed from it; any other bad line is a UserError."""
        self.path = path
        self.records: list[Record] = []
        self._lock = Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Lone surrogates, which a pair_id may contain, are written as JSON escapes.
            self._file = path.open("a", encoding="utf-8", errors="backslashreplace")
            lines = path.read_bytes().splitlines(keepends=True)
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}); choose another file") from error
        if lines and not lines[-1].endswith(b"\n"):
            cut_short = lines.pop()
            self._file.truncate(path.stat().st_size - len(cut_short))
        for number, line in enumerate(lines, start=1):
            try:
                self.records.append(_record(json.loads(line)))
            except (ValueError, RecursionError, TypeError) as error:
                raise UserError(
                    f"{path}, line {number}: not a record of an endpoint's answer; remove it or choose another file"
                ) from error

    def append(self, record: Record) -> None:
        """Write immediately: neither a kill nor a power cut may lose an answer that was paid for."""
        with self._lock:
            self._file.write(dumps(asdict(record)) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
            self.records.append(record)

    def close(self) -> None:
        self._file.close()


def _record(row: Any) -> Record:
    names = Record.__annotations__
    if not isinstance(row, dict) or not set(names) - {"max_tokens"} <= set(row) <= set(names):
        raise TypeError("keys")
    if not all(_TYPES[names[name].__name__](value) for name, value in row.items()) or row["outcome"] not in OUTCOMES:
        raise TypeError("values")
    return Record(**row)
