"""Writes pairs in the `plain` layout: CSV, TSV, JSONL (also gzipped), Parquet, or a Hugging Face dataset folder."""

import csv
import gzip
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
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
_EMPTY = Pair("", "", "", Product(""))


# Spreadsheets run a cell as a formula if it starts with one of these characters (also full-width), possibly after a tab
# or line end. Plain numbers are harmless.
_FORMULA = re.compile(r"[=+\-@＝＋－＠\t\r\n]")
_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)*([eE][-+]?\d+)?%?")


class Columns:
    """The columns of a table of pairs, found by looking at every pair once: first the plain ones, then every extra
    column in order of appearance, with the types of its values."""

    def __init__(self, extra: Mapping[str, Iterable[str]] | None = None) -> None:
        self.extra = {column: set(kinds) for column, kinds in (extra or {}).items()}
        """Extra column -> names of the Python types of its values; "large" for whole numbers beyond 64 bits."""

    @classmethod
    def of(cls, pairs: Iterable[Pair]) -> "Columns":
        """The columns of these pairs."""
        columns = cls()
        for pair in pairs:
            columns.add(pair)
        return columns

    def add(self, pair: Pair) -> None:
        """Take the pair's columns into account."""
        if pair.extra:
            row = row_from_pair(pair)
            for column in islice(row, len(row) - len(pair.extra), None):
                kinds, value = self.extra.setdefault(column, set()), row[column]
                if value is not None:
                    kinds.add("large" if isinstance(value, int) and abs(value) >= 1 << 63 else type(value).__name__)

    def declare(self, column: str, kind: type) -> None:
        """Add an extra column whose values are all of one type; a column of that name keeps its place."""
        self.extra[column] = {kind.__name__}

    @property
    def names(self) -> list[str]:
        """All columns in order."""
        return list(row_from_pair(_EMPTY) | dict.fromkeys(self.extra))

    def arrow_schema(self) -> "pyarrow.Schema":
        """The types of the columns in Parquet files and datasets."""
        import pyarrow

        plain = dict.fromkeys(row_from_pair(_EMPTY), pyarrow.string())
        plain |= {"tags": pyarrow.list_(pyarrow.string()), "price": pyarrow.float64()}
        native = {"int": pyarrow.int64(), "float": pyarrow.float64(), "bool": pyarrow.bool_()}

        def stored(kinds: set[str]) -> pyarrow.DataType:
            if not kinds:
                return pyarrow.null()
            return native.get(next(iter(kinds)), pyarrow.string()) if len(kinds) == 1 else pyarrow.string()

        return pyarrow.schema(list((plain | {name: stored(kinds) for name, kinds in self.extra.items()}).items()))


def write_pairs(path: Path, pairs: Iterable[Pair], defuse: bool = False, columns: Columns | None = None) -> None:
    """Write pairs. The name determines the format; a name without a suffix is a Hugging Face dataset folder.

    JSONL preserves everything and is streamed. In CSV and TSV all cells are text and an empty cell means no value, so
    extra columns are read back as text (other values as JSON text). In Parquet and datasets, the same holds for an
    extra column with values of different types or nested values. An extra value of None counts as missing, and so do
    NaN and the infinities inside JSON. A file is written completely or not at all; equal pairs give equal bytes.

    With `defuse`, a CSV or TSV cell that a spreadsheet would run as a formula gets a single quote in front, which
    spreadsheets do not show. It is meant only for spreadsheets: other programs read the quote as part of the cell.

    `columns` are those of the whole table if the pairs are a part of it. JSONL has no table: each line has its own.
    """
    if not path.suffix:
        path.parent.mkdir(parents=True, exist_ok=True)
        pairs = list(pairs)
        write_dataset(path, arrow_table(pairs, columns or Columns.of(pairs)))
        return
    kind = file_format(path)
    with replacing(path) as part:
        if kind == "parquet":
            import pyarrow.parquet as parquet

            pairs = list(pairs)
            parquet.write_table(arrow_table(pairs, columns or Columns.of(pairs)), part)
            return
        with _text_file(part, packed=path.name.lower().endswith(".gz")) as file:
            if kind == "jsonl":
                _write_jsonl(file, pairs)
            else:
                pairs = list(pairs)
                write_csv(file, pairs, columns or Columns.of(pairs), kind, defuse)


@contextmanager
def packed_file(path: Path, packed: bool) -> Iterator[IO[bytes]]:
    """An open file, gzipped if `packed`."""
    with path.open("wb") as raw:
        if not packed:
            yield raw
            return
        # The gzip header gets no name and no time; otherwise equal pairs would give different files.
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as file:
            yield cast(IO[bytes], file)


@contextmanager
def _text_file(path: Path, packed: bool) -> Iterator[IO[str]]:
    with packed_file(path, packed) as binary:
        text = io.TextIOWrapper(cast(io.BufferedWriter, binary), encoding="utf-8", newline="")
        yield text
        text.close()


def _write_jsonl(file: IO[str], pairs: Iterable[Pair]) -> None:
    for pair in pairs:
        row = row_from_pair(pair)
        own = len(row) - len(pair.extra)
        kept = {k: v for i, (k, v) in enumerate(row.items()) if i >= own or k in _ALWAYS or v not in (None, "", {}, [])}
        file.write(dumps(kept) + "\n")


def write_csv(file: IO[str], pairs: Iterable[Pair], columns: Columns, kind: str, defuse: bool) -> None:
    """A header line and a line for each pair; `kind` is csv or tsv."""
    write, names = cells_writer(file, "\t" if kind == "tsv" else ",", defuse), columns.names
    write(names)
    for row in map(row_from_pair, pairs):
        write([_cell(column, row.get(column)) for column in names])


def cells_writer(file: IO[str], delimiter: str, defuse: bool) -> Callable[[list[str]], None]:
    """A function that writes one line of CSV or TSV; `defuse` as in `write_pairs`."""
    # With "\n" as line end, Python's writer would not quote a cell that contains a lone "\r".
    writer = csv.writer(file, delimiter=delimiter, lineterminator="\r\n")
    shown = _defused if defuse else str
    return lambda cells: writer.writerow(list(map(shown, cells)))


def _defused(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


def _cell(column: str, value: Any) -> str:
    if value is None or (value in ([], {}) and column in ("tags", "attributes")):
        return ""
    if column == "tags" and not any("|" in t or t != t.strip() or not t or t.startswith("[") for t in value):
        return "|".join(value)
    if isinstance(value, str):
        return value
    return repr(value) if column == "price" else dumps(value)


def arrow_table(pairs: Iterable[Pair], columns: Columns) -> "pyarrow.Table":
    """The pairs as a table with these columns."""
    import pyarrow

    rows = [row_from_pair(pair) for pair in pairs]
    schema = columns.arrow_schema()
    arrays = []
    for column in schema:
        values = [row.get(column.name) for row in rows]
        if pyarrow.types.is_string(column.type):
            values = [None if v is None else _cell(column.name, v) for v in values]
        arrays.append(pyarrow.array(values, column.type))
    return pyarrow.Table.from_arrays(arrays, schema=schema)


def check_dataset(folder: Path) -> None:
    """UserError if a folder of this name exists and is no dataset: it would be overwritten."""
    if folder.exists() and not is_dataset(folder):
        raise UserError(f"{folder}: exists and is not a Hugging Face dataset; choose another name")


def write_dataset(folder: Path, table: "pyarrow.Table") -> None:
    """Write a Hugging Face dataset folder. UserError as `check_dataset`."""
    import datasets

    check_dataset(folder)
    # Without this, `datasets` writes no file if there are no rows, and then cannot load the folder.
    datasets.Dataset(table).save_to_disk(str(folder), num_shards=None if table.num_rows else 1)
