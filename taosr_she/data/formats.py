"""Text files as rows: CSV, TSV and JSONL, plain or gzipped, one row at a time, with broken rows reported as such."""

import codecs
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
from typing import IO, Any, cast

from taosr_she.base.errors import UserError
from taosr_she.data.columns import shown_names

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_MAX_RECORD_LINES = 10_000  # a quote that stays open for longer is a mistake, not text
_MAX_RECORD_CHARS = 1_000_000
_MAX_DEPTH = 32  # of nested JSON
_NOT_TEXT = re.compile(r"[\udc80-\udcff]")
_NOT_IN_ENCODING = "not in the file's encoding (UTF-8 unless --encoding names another)"
_SAMPLE = 1 << 20  # bytes at the start of a file from which its encoding is checked
_MARKS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
          (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
_SEP = re.compile(r"""\ufeff?"?sep=(\t|[^\w"'\s])\1*"?""", re.IGNORECASE)


class EmptyFile(UserError):
    """A text file without a header."""


@dataclass(frozen=True, slots=True)
class ReadError:
    """A row that could not be read: a reason of `rows.REASONS`, the details, and the row as text."""

    reason: str
    detail: str
    raw: str


# A row's number (1 = first row; header and blank lines are not rows) with its cells, or the error.
Row = tuple[int, dict[str, Any] | ReadError]


def file_format(path: Path) -> str:
    """ "csv", "tsv", "jsonl" or "parquet", from the name, which may end in .gz (not Parquet). Otherwise UserError."""
    name = path.name.lower()
    suffix = Path(name.removesuffix(".gz")).suffix
    if suffix not in SUFFIXES or (suffix == ".parquet" and name.endswith(".gz")):
        raise UserError(
            f"{path}: unknown file ending; use one of {', '.join(SUFFIXES)} (all but .parquet also with .gz)"
        )
    return "jsonl" if suffix == ".ndjson" else suffix[1:]


def check_encoding(path: Path) -> None:
    """UserError that names the option if the start of a text file shows that it is not UTF-8, -16 or -32.

    We do not guess the encoding, because a wrong guess gives wrong text that looks right. Single bad lines in a file
    that is otherwise UTF-8 are left to the quarantine.
    """
    if not path.is_file():
        return  # a pipe can be read once only
    try:
        with _open(path) as binary:
            head = binary.read(_SAMPLE)
    except (EOFError, OSError, zlib.error):
        return  # reading says what is wrong
    lines = head.splitlines()[: None if len(head) < _SAMPLE else -1]
    if any(head.startswith(mark) for mark, _ in _MARKS):
        return
    special = [_is_utf8(line) for line in lines if not line.isascii()]
    bad = special.count(False)
    if 2 * bad > len(special) and 100 * bad > len(lines):
        raise UserError(
            f"{path}: {bad} of the first {len(lines)} lines are not UTF-8; name the encoding with --encoding "
            "(in a recipe `encoding:`), e.g. cp1252 for Western Europe, gb18030 for Chinese, shift_jis, cp1251; "
            "with utf-8, these lines go to quarantine"
        )


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def read_jsonl(path: Path, encoding: str | None = None) -> Iterator[Row]:
    """Rows of a JSONL file; lines end in any mix of \\n, \\r\\n and \\r, a byte order mark is skipped.

    `encoding` is UTF-8 unless it is given or there is a byte order mark. A row that cannot be decoded is an error.
    """
    number = 0
    for line in _lines(path, newline=None, encoding=encoding):
        text = line.strip(" \t\n")
        if text:
            number += 1
            yield number, _parse_json(text)


def read_csv(path: Path, delimiter: str | None = None, encoding: str | None = None) -> Iterator[Row]:
    """Rows of a CSV or TSV file with a header; `encoding` as in `read_jsonl`.

    The delimiter is named by a first line such as `sep=;`, or is the one given, or else the most frequent of comma, tab
    and semicolon in the header. An empty cell is None. A quote that is never closed, or that only a later row closes,
    costs only its own line: reading continues with the next one. (Few programs quote in tab-separated files. There,
    such a line is read as it is if it has the right number of cells.) UserError for an empty file or an unusable
    header.
    """
    lines = _Pushback(_lines(path, newline="", encoding=encoding))
    first = lines.peek()
    if first is not None and (named := _SEP.fullmatch(first.rstrip("\r\n"))):
        delimiter = named[1]
        lines.next()
        first = lines.peek()
    if first is None:
        raise EmptyFile(f"{path}: is empty; a header line with column names is needed")
    if delimiter is None:
        delimiter = max(",\t;", key=first.count)
    header = _header(path, lines, delimiter)
    number = 0
    while (record := _record(lines, delimiter, len(header))) is not None:
        if record == []:
            continue
        number += 1
        yield number, record if isinstance(record, ReadError) else _cells(header, record, delimiter)


def read_words(path: Path, encoding: str | None = None) -> Iterator[tuple[int, list[str] | ReadError]]:
    """Numbers and words of the lines of a text file that are not blank; `encoding` as in `read_jsonl`."""
    number = 0
    for line in _lines(path, newline=None, encoding=encoding):
        if words := line.lstrip("\ufeff").split():
            number += 1
            if _escaped(line):
                yield number, ReadError("wrong encoding", _NOT_IN_ENCODING, _readable(line.strip()))
            else:
                yield number, words


def read_text(path: Path, encoding: str | None = None) -> str:
    """The whole text of a file; `encoding` as in `read_jsonl`."""
    return "".join(_lines(path, newline=None, encoding=encoding))


class _Pushback:
    """Lines that can be put back. Without this, a broken record would consume the good ones after it."""

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


def _record(lines: _Pushback, delimiter: str, width: int = 0) -> list[str] | ReadError | None:
    """The cells of the next record ([] for a blank line), a ReadError, or None at the end.

    `width` is the number of cells in a row; 0 for the header, where it is not known.
    """
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
        if "field limit" in str(error):
            return ReadError("text too long", str(error), _readable(taken[0].rstrip("\r\n")))
        return _first_line(taken[0], delimiter, width, str(error))
    match _swallowed(taken, delimiter, width):
        case True:
            lines.back.extendleft(reversed(taken[1:]))
            return _first_line(taken[0], delimiter, width, "a quote is opened here but closed in another row")
        case None:
            detail = f"these {len(taken)} lines may be one row with a quoted cell, or rows with stray quotes"
            return ReadError("unclear quotes", detail, _readable("".join(taken).rstrip("\r\n")))
    return [] if cells is not None and len(cells) < 2 and not any(c.strip(" \t") for c in cells) else cells


def _first_line(line: str, delimiter: str, width: int, error: str) -> list[str] | ReadError:
    """A line whose quotes are broken."""
    text = line.rstrip("\r\n")
    cells = text.split(delimiter)
    return cells if delimiter == "\t" and len(cells) == width else ReadError("broken quotes", error, _readable(text))


def _swallowed(taken: list[str], delimiter: str, width: int) -> bool | None:
    """Whether a record of several lines is really several rows, joined by a stray quote; None if it is unclear.

    Each of such rows has the right number of cells. Lines of text in a cell rarely do, but it happens; a comma followed
    by a space is a sign of text.
    """
    if len(taken) < 2 or width < 2:
        return False
    right = [len(line.rstrip("\r\n").split(delimiter)) == width for line in taken]
    if not (right[0] and right[-1]):
        return False
    tabs = delimiter == "\t"
    prose = not tabs and any(delimiter + " " in line for line in taken)
    if all(right):
        return True if not prose and (tabs or len(taken) > 2) else None
    return None if not prose and (tabs or any(right[1:-1])) else False


def _header(path: Path, lines: _Pushback, delimiter: str) -> list[str]:
    record = _record(lines, delimiter)
    while record == []:
        record = _record(lines, delimiter)
    if record is None:
        raise EmptyFile(f"{path}: is empty; a header line with column names is needed")
    if isinstance(record, ReadError) or any("\0" in c or _escaped(c) for c in record):
        raise UserError(
            f"{path}: the first line is not a header of column names in UTF-8; is this a CSV or TSV file? Another "
            "encoding is named with --encoding (in a recipe `encoding:`)"
        )
    # A table saved with its row index has one column without a name.
    named = [c or f"column_{i + 1}" for i, c in enumerate(record)]
    header = [c.strip() or f"column_{i + 1}" for i, c in enumerate(record)]
    if len(set(header)) < len(header):  # the names may differ only in the white space around them
        header = named
    doubled = sorted({c for c in header if header.count(c) > 1})
    if doubled:
        raise UserError(f"{path}: the header names a column twice: {shown_names(doubled)}; rename one")
    return header


def _cells(header: list[str], record: list[str], delimiter: str) -> dict[str, Any] | ReadError:
    if any(_escaped(c) for c in record):
        return ReadError("wrong encoding", _NOT_IN_ENCODING, _readable(delimiter.join(record)))
    if len(record) != len(header):
        detail = f"{len(record)} cells, but the header has {len(header)}"
        return ReadError("wrong number of columns", detail, delimiter.join(record))
    return {name: cell or None for name, cell in zip(header, record, strict=True)}


def _parse_json(text: str) -> dict[str, Any] | ReadError:
    if _escaped(text):
        return ReadError("wrong encoding", _NOT_IN_ENCODING, _readable(text))
    if "\0" in text:
        return ReadError("null byte", "the line holds a null byte", text)
    # ValueError also covers extremely long integers; RecursionError, extremely nested brackets.
    try:
        value = json.loads(text, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        return ReadError("broken json", str(error), text)
    if not isinstance(value, dict):
        return ReadError("not an object", f"expected a JSON object, found a {type(value).__name__}", text)
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
    """Whether `text` holds bytes that are invalid in the encoding (decoding leaves them as lone surrogates)."""
    return not text.isascii() and _NOT_TEXT.search(text) is not None


def _readable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _open(path: Path) -> IO[bytes]:
    packed = path.name.lower().endswith(".gz")
    return cast(IO[bytes], gzip.open(path, "rb") if packed else path.open("rb"))


def _lines(path: Path, newline: str | None, encoding: str | None) -> Iterator[str]:
    """Lines of a text file, plain or gzipped. Invalid bytes become lone surrogates, so they affect only their row."""
    count = 0
    try:
        with _open(path) as binary:
            start = binary.read(4)
            binary.seek(0)
            known = encoding or next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")
            text = io.TextIOWrapper(
                cast(io.BufferedReader, binary), encoding=_codec(known), errors="surrogateescape", newline=newline
            )
            for line in cast(Iterable[str], text):
                count += 1
                yield line
    except UnicodeError as error:
        raise UserError(f"{path}: is not {known} after line {count} ({error}); save it as UTF-8") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(
            f"{path}: the gzip data is damaged after line {count} ({error}); copy the file again"
        ) from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error


def _codec(name: str) -> str:
    """The name of a text encoding. UserError for other names."""
    try:
        b"".decode(name)
        return "utf-8-sig" if codecs.lookup(name).name == "utf-8" else name
    except (LookupError, ValueError) as error:
        raise UserError(
            f"unknown encoding {name!r}; use e.g. utf-8, utf-16, cp1252, gb18030, shift_jis, cp1251"
        ) from error
