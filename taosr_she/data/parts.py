"""Files that hold the parts of one table: put together in bounded memory."""

import io
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from taosr_she.base.files import replacing
from taosr_she.data.formats import file_format
from taosr_she.data.write import Columns, packed_file, write_csv, write_dataset

if TYPE_CHECKING:
    import pyarrow

_GROUP_BYTES = 8 << 20  # of a row group in Parquet: parts are smaller, and readers like larger groups


def part_suffix(out: Path, packed: bool = False) -> str:
    """Ending of the parts for the output `out`: gzipped only if `packed`; Parquet for a Hugging Face dataset.

    >>> part_suffix(Path("judged.csv.gz")), part_suffix(Path("judged.csv.gz"), packed=True), part_suffix(Path("judged"))
    ('.csv', '.csv.gz', '.parquet')
    """
    gz = ".gz" if packed and out.name.lower().endswith(".gz") else ""
    return f".{file_format(out)}{gz}" if out.suffix else ".parquet"


def join_parts(out: Path, parts: Iterable[Path], columns: Columns, defuse: bool = False) -> None:
    """Write the rows of all parts, which `write_pairs` wrote with these `columns`, to one file or dataset folder.

    The parts have the ending `part_suffix`, not gzipped. The file is written completely or not at all.
    """
    if not out.suffix:
        _join_dataset(out, parts, columns)
        return
    kind = file_format(out)
    with replacing(out) as part:
        if kind == "parquet":
            _join_parquet(part, parts, columns)
        else:
            with packed_file(part, packed=out.name.lower().endswith(".gz")) as file:
                _join_text(file, parts, "" if kind == "jsonl" else _header(columns, kind, defuse))


def _header(columns: Columns, kind: str, defuse: bool) -> str:
    text = io.StringIO()
    write_csv(text, [], columns, kind, defuse)
    return text.getvalue()


def _join_text(file: IO[bytes], parts: Iterable[Path], header: str) -> None:
    """Concatenate; every part starts with the header."""
    first = header.encode("utf-8")
    file.write(first)
    for path in parts:
        with path.open("rb") as part:
            part.seek(len(first))
            shutil.copyfileobj(part, file)


def _join_parquet(out: Path, parts: Iterable[Path], columns: Columns) -> None:
    import pyarrow.parquet as parquet

    with parquet.ParquetWriter(out, columns.arrow_schema()) as writer:
        for table in _groups(parts):
            writer.write_table(table, row_group_size=table.num_rows)


def _join_dataset(folder: Path, parts: Iterable[Path], columns: Columns) -> None:
    """`datasets` reads the table from a file that is mapped into memory."""
    import pyarrow
    import pyarrow.ipc as ipc

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        whole = Path(scratch, "table.arrow")
        with ipc.new_stream(str(whole), columns.arrow_schema()) as writer:
            for table in _groups(parts):
                writer.write_table(table)
        with pyarrow.memory_map(str(whole)) as source:
            write_dataset(folder, ipc.open_stream(source).read_all())


def _groups(parts: Iterable[Path]) -> "Iterator[pyarrow.Table]":
    """The tables of the parts, joined to groups of about _GROUP_BYTES."""
    import pyarrow
    import pyarrow.parquet as parquet

    tables: list[pyarrow.Table] = []
    for path in parts:
        tables.append(parquet.ParquetFile(path).read())
        if sum(table.nbytes for table in tables) >= _GROUP_BYTES:
            yield pyarrow.concat_tables(tables)
            tables = []
    if tables:
        yield pyarrow.concat_tables(tables)
