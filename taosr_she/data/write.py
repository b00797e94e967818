"""Writes pairs in the `plain` layout: CSV, TSV, JSONL (also gzipped), Parquet, or a Hugging Face dataset folder."""

import csv
import gzip
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from taosr_she.base.errors import UserError
from taosr_she.base.files import dumps, replacing
from taosr_she.data.formats import file_format
from taosr_she.data.rows import row_from_pair
from taosr_she.data.tables import is_dataset
from taosr_she.domain.pair import Pair, Product

if TYPE_CHECKING:
    import pyarrow

_ALWAYS = ("pair_id", "query_id", "query", "title")
# Types of an extra column that Arrow stores unchanged.
_NATIVE: tuple[set[type], ...] = (set(), {int}, {float}, {bool})
_EMPTY = Pair("", "", "", Product(""))


# Spreadsheets run a cell as a formula if it starts with one of these characters (also full-width), possibly after a tab
# or line end. Plain numbers are harmless.
_FORMULA = re.compile(r"[=+\-@＝＋－＠\t\r\n]")
_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)*([eE][-+]?\d+)?%?")


def write_pairs(path: Path, pairs: Iterable[Pair], defuse: bool = False) -> None:
    """Write pairs. The name determines the format; a name without a suffix is a Hugging Face dataset folder.

    JSONL preserves everything and is streamed. In CSV and TSV all cells are text and an empty cell means no value, so
    extra columns are read back as text (other values as JSON text). In Parquet and datasets, the same holds for an
    extra column with values of different types or nested values. An extra value of None counts as missing, and so do
    NaN and the infinities inside JSON. A file is written completely or not at all; equal pairs give equal bytes.

    With `defuse`, a CSV or TSV cell that a spreadsheet would run as a formula gets a single quote in front, which
    spreadsheets do not show. It is meant only for spreadsheets: other programs read the quote as part of the cell.
    """
    if not path.suffix:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_dataset(path, pairs)
        return
    kind = file_format(path)
    with replacing(path) as part:
        if kind == "parquet":
            import pyarrow.parquet as parquet

            parquet.write_table(_table(pairs), part)
            return
        with _text_file(part, packed=path.name.lower().endswith(".gz")) as file:
            if kind == "jsonl":
                _write_jsonl(file, pairs)
            else:
                _write_csv(file, pairs, "\t" if kind == "tsv" else ",", defuse)


@contextmanager
def _text_file(path: Path, packed: bool) -> Iterator[IO[str]]:
    with path.open("wb") as raw:
        # The gzip header gets no name and no time; otherwise equal pairs would give different files.
        binary = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) if packed else raw
        text = io.TextIOWrapper(cast(io.BufferedWriter, binary), encoding="utf-8", newline="")
        yield text
        text.close()


def _write_jsonl(file: IO[str], pairs: Iterable[Pair]) -> None:
    for pair in pairs:
        row = row_from_pair(pair)
        own = len(row) - len(pair.extra)
        kept = {k: v for i, (k, v) in enumerate(row.items()) if i >= own or k in _ALWAYS or v not in (None, "", {}, [])}
        file.write(dumps(kept) + "\n")


def _write_csv(file: IO[str], pairs: Iterable[Pair], delimiter: str, defuse: bool) -> None:
    rows = [row_from_pair(pair) for pair in pairs]
    # With "\n" as line end, Python's writer would not quote a cell that contains a lone "\r".
    writer = csv.writer(file, delimiter=delimiter, lineterminator="\r\n")
    columns = _columns(rows)
    shown = _defused if defuse else str
    writer.writerow(map(shown, columns))
    writer.writerows([shown(_cell(column, row.get(column))) for column in columns] for row in rows)


def _defused(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    """The plain columns, then every extra column in order of appearance."""
    plain = row_from_pair(_EMPTY)
    return list(plain | {column: None for row in rows for column in row})


def _cell(column: str, value: Any) -> str:
    if value is None or (value in ([], {}) and column in ("tags", "attributes")):
        return ""
    if column == "tags" and not any("|" in t or t != t.strip() or not t or t.startswith("[") for t in value):
        return "|".join(value)
    if isinstance(value, str):
        return value
    return repr(value) if column == "price" else dumps(value)


def _table(pairs: Iterable[Pair]) -> "pyarrow.Table":
    import pyarrow

    rows = [row_from_pair(pair) for pair in pairs]
    plain = row_from_pair(_EMPTY)
    columns: dict[str, Any] = {}
    for column in _columns(rows):
        values = [row.get(column) for row in rows]
        kinds = {type(v) for v in values if v is not None}
        if column == "tags":
            columns[column] = pyarrow.array(values, pyarrow.list_(pyarrow.string()))
        elif column == "price":
            columns[column] = pyarrow.array(values, pyarrow.float64())
        elif column in plain or kinds not in _NATIVE or _large(values):
            columns[column] = pyarrow.array([None if v is None else _cell(column, v) for v in values], pyarrow.string())
        else:
            columns[column] = pyarrow.array(values)
    return pyarrow.table(columns)


def _large(values: list[Any]) -> bool:
    return any(isinstance(v, int) and abs(v) >= 1 << 63 for v in values)


def _write_dataset(folder: Path, pairs: Iterable[Pair]) -> None:
    import datasets

    if folder.exists() and not is_dataset(folder):
        raise UserError(f"{folder}: exists and is not a Hugging Face dataset; choose another name")
    table = _table(pairs)
    # Without this, `datasets` writes no file if there are no rows, and then cannot load the folder.
    datasets.Dataset(table).save_to_disk(str(folder), num_shards=None if table.num_rows else 1)
