"""Text files as rows: CSV, TSV and JSONL, plain or gzipped, one row at a time, with broken rows reported as such."""

import csv
import gzip
import io
import json
import re
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from taosr_she.errors import UserError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_MAX_RECORD_LINES = 10_000  # an open quote that runs on longer than this is a mistake, not a text
_MAX_RECORD_CHARS = 1_000_000
_MAX_DEPTH = 32  # of nested JSON
_NOT_UTF8 = re.compile(r"[\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class ReadError:
    """A row that could not even be read: a reason of `rows.REASONS`, what exactly, and the row as text."""

    reason: str
    detail: str
    raw: str


# A row's number (1 = first row; header and blank lines are not rows) with its cells, or why it has none.
Row = tuple[int, dict[str, Any] | ReadError]


def file_format(path: Path) -> str:
    """ "csv", "tsv", "jsonl" or "parquet", from the name, which may end in .gz (not for Parquet). Else UserError."""
    name = path.name.lower()
    suffix = Path(name.removesuffix(".gz")).suffix
    if suffix not in SUFFIXES or (suffix == ".parquet" and name.endswith(".gz")):
        raise UserError(
            f"{path}: the format is not known from the name; use {', '.join(SUFFIXES)} (all but .parquet also with .gz)"
        )
    return "jsonl" if suffix == ".ndjson" else suffix[1:]


def read_jsonl(path: Path) -> Iterator[Row]:
    """Rows of a JSONL file; lines end in any mix of \\n, \\r\\n and \\r, a byte order mark is skipped."""
    number = 0
    for line in _lines(path, newline=None):
        text = line.strip(" \t\n")
        if text:
            number += 1
            yield number, _parse_json(text)


def read_csv(path: Path, delimiter: str | None = None) -> Iterator[Row]:
    """Rows of a CSV or TSV file with a header.

    The delimiter, unless given, is the commonest of comma, tab and semicolon in the header. An empty cell is None. A
    quote that is never closed costs its own line only, as far as the lines after it tell: reading goes on with the next
    one. UserError for an empty file or an unusable header.
    """
    lines = _Pushback(_lines(path, newline=""))
    first = lines.peek()
    if first is None:
        raise UserError(f"{path}: is empty; a header line with column names is needed")
    if delimiter is None:
        delimiter = max(",\t;", key=first.count)
    header = _header(path, lines, delimiter)
    number = 0
    while (record := _record(lines, delimiter)) is not None:
        if record == []:
            continue
        number += 1
        yield number, record if isinstance(record, ReadError) else _cells(header, record, delimiter)


class _Pushback:
    """Lines that can be put back, so that a broken record does not swallow the good ones after it."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.lines = lines
        self.back: deque[str] = deque()

    def next(self) -> str | None:
        return self.back.popleft() if self.back else next(self.lines, None)

    def peek(self) -> str | None:
        line = self.next()
        if line is not None:
            self.back.appendleft(line)
        return line


def _record(lines: _Pushback, delimiter: str) -> list[str] | ReadError | None:
    """The cells of the next record ([] for a blank line), a ReadError, or None at the end."""
    taken: list[str] = []

    def take() -> Iterator[str]:
        size = 0
        while len(taken) < _MAX_RECORD_LINES and size < _MAX_RECORD_CHARS and (line := lines.next()) is not None:
            taken.append(line)
            size += len(line)
            yield line

    try:
        cells = next(csv.reader(take(), delimiter=delimiter, strict=True), None)
    except csv.Error as error:
        lines.back.extendleft(reversed(taken[1:]))
        reason = "text too long" if "field limit" in str(error) else "broken quotes"
        return ReadError(reason, str(error), _readable(taken[0].rstrip("\r\n")))
    return [] if cells is not None and len(cells) < 2 and not any(c.strip(" \t") for c in cells) else cells


def _header(path: Path, lines: _Pushback, delimiter: str) -> list[str]:
    record = _record(lines, delimiter)
    while record == []:
        record = _record(lines, delimiter)
    if record is None:
        raise UserError(f"{path}: is empty; a header line with column names is needed")
    if isinstance(record, ReadError) or any("\0" in c or _escaped(c) for c in record):
        raise UserError(f"{path}: the first line is not a header of column names in UTF-8; is this a CSV or TSV file?")
    # A table saved with its row index has one column without a name.
    header = [c.strip() or f"column_{i + 1}" for i, c in enumerate(record)]
    doubled = sorted({c for c in header if header.count(c) > 1})
    if doubled:
        raise UserError(f"{path}: the header names a column twice: {', '.join(doubled)}; rename one")
    return header


def _cells(header: list[str], record: list[str], delimiter: str) -> dict[str, Any] | ReadError:
    if any(_escaped(c) for c in record):
        return ReadError("wrong encoding", "not UTF-8", _readable(delimiter.join(record)))
    if len(record) != len(header):
        detail = f"{len(record)} cells, but the header has {len(header)}"
        return ReadError("wrong number of columns", detail, delimiter.join(record))
    return {name: cell or None for name, cell in zip(header, record, strict=True)}


def _parse_json(text: str) -> dict[str, Any] | ReadError:
    if _escaped(text):
        return ReadError("wrong encoding", "not UTF-8", _readable(text))
    if "\0" in text:
        return ReadError("null byte", "the line holds a null byte", text)
    # ValueError also covers integers of absurd length; RecursionError, absurdly nested brackets.
    try:
        value = json.loads(text, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        return ReadError("broken json", str(error), text)
    if not isinstance(value, dict):
        return ReadError("not an object", f"a JSON object is needed, this is a {type(value).__name__}", text)
    if text.count("[") + text.count("{") > _MAX_DEPTH and _too_deep(value):
        return ReadError("broken json", f"nested deeper than {_MAX_DEPTH} levels", text)
    return value


def _constant(name: str) -> float | None:
    return None if name == "NaN" else float(name)  # NaN is how tables write "nothing here"


def _too_deep(value: Any) -> bool:
    level: list[Any] = [value]
    for _ in range(_MAX_DEPTH):
        nested = [v for v in level if isinstance(v, dict | list)]
        level = [child for v in nested for child in (v.values() if isinstance(v, dict) else v)]
    return any(isinstance(v, dict | list) for v in level)


def _escaped(text: str) -> bool:
    """Whether `text` holds bytes that were not UTF-8 (decoding has left them as lone surrogates)."""
    return not text.isascii() and _NOT_UTF8.search(text) is not None


def _readable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _lines(path: Path, newline: str | None) -> Iterator[str]:
    """Lines of a text file, plain or gzipped. Bytes that are not UTF-8 survive as lone surrogates: one row's fault."""
    packed = path.name.lower().endswith(".gz")
    count = 0
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as binary:
            if binary.read(2) in (b"\xff\xfe", b"\xfe\xff"):
                raise UserError(f"{path}: is UTF-16; save it as UTF-8")
            binary.seek(0)
            text = io.TextIOWrapper(
                cast(io.BufferedReader, binary), encoding="utf-8-sig", errors="surrogateescape", newline=newline
            )
            for line in cast(Iterable[str], text):
                count += 1
                yield line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(
            f"{path}: the gzip data is damaged after line {count} ({error}); copy the file again"
        ) from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
