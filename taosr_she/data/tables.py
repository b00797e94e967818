"""Arrow tables as rows: Parquet files and Hugging Face datasets saved on disk, a thousand rows in memory at a time."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taosr_she.base.errors import UserError
from taosr_she.data.columns import shown_names
from taosr_she.data.formats import Row

if TYPE_CHECKING:
    import pyarrow

_BATCH = 1000


def read_parquet(path: Path) -> Iterator[Row]:
    """Rows of a Parquet file. UserError if it is not one."""
    import pyarrow
    import pyarrow.parquet as parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            _check_names(path, file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=_BATCH):
                for row in _rows(batch, {}):
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, OSError) as error:
        what = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: not a readable Parquet file ({what}); write it again") from error


def is_dataset(folder: Path) -> bool:
    """Whether the folder was written by `save_to_disk` of Hugging Face datasets."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def read_dataset(folder: Path, split: str | None = None) -> Iterator[Row]:
    """Rows of a Hugging Face dataset on disk; class labels are returned as names.

    UserError if the dataset has several splits and none is chosen, or if `split` does not exist.
    """
    import datasets

    try:
        loaded = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, LookupError) as error:
        what = " ".join(str(error).split())[:200]
        raise UserError(f"{folder}: not a readable Hugging Face dataset ({what}); save it again") from error
    if isinstance(loaded, datasets.DatasetDict):
        names = list(loaded)
        chosen = split or (names[0] if len(names) == 1 else None)
        if chosen not in names:
            what = f"no split '{split}'" if split else "several splits"
            raise UserError(f"{folder}: {what}; choose one with 'split': {', '.join(names)}")
        loaded = loaded[chosen]
    elif split:
        raise UserError(f"{folder}: is a dataset without splits; leave out 'split: {split}'")
    classes = {n: f.names for n, f in loaded.features.items() if isinstance(f, datasets.ClassLabel)}
    if not len(loaded):  # asking an empty dataset for batches is an IndexError
        return
    number = 0
    for table in loaded.with_format("arrow").iter(batch_size=_BATCH):
        for row in _rows(table, classes):
            number += 1
            yield number, row


def _check_names(path: Path, names: list[str]) -> None:
    doubled = sorted({n for n in names if names.count(n) > 1})
    if doubled:
        raise UserError(f"{path}: two columns are called {shown_names(doubled)}; rename one")


def _rows(table: "pyarrow.Table | pyarrow.RecordBatch", classes: dict[str, list[str]]) -> Iterator[dict[str, Any]]:
    columns = {name: _values(table.column(i)) for i, name in enumerate(table.schema.names)}
    for i in range(table.num_rows):
        row = {name: values[i] for name, values in columns.items()}
        for name, names in classes.items():
            index = row[name]
            row[name] = names[index] if index is not None and 0 <= index < len(names) else None
        yield row


def _values(column: "pyarrow.Array | pyarrow.ChunkedArray") -> list[Any]:
    """Plain values. Bytes and text that are not UTF-8 stay bytes; whether that matters depends on the column."""
    try:
        return [_plain(v) for v in column.to_pylist()]
    except _UNREADABLE:
        return [_value(scalar) for scalar in column]


# Raised by pyarrow for values that Python's own types cannot hold: text that is not UTF-8, dates after the year 9999,
# nanoseconds, unknown time zones, structs with two fields of one name.
_UNREADABLE = (ValueError, OverflowError, LookupError, TypeError, ArithmeticError)


def _value(scalar: Any) -> Any:
    import pyarrow

    try:
        return _plain(scalar.as_py())
    except UnicodeDecodeError as error:
        return error.object
    except _UNREADABLE:
        try:
            return str(scalar.cast(pyarrow.string()))
        except pyarrow.ArrowException:
            return f"<{scalar.type}: {getattr(scalar, 'value', 'not readable')}>"


def _plain(value: Any) -> Any:
    """A value for JSON, or bytes: NaN becomes None; UTF-8 bytes, dates and decimals become text."""
    if isinstance(value, bytes):
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError:
            return value
        return value if "\0" in text else text
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        values = [_plain(v) for v in value]
        if values and all(isinstance(v, tuple) for v in value):  # a map: its keys need not differ
            entries = {str(key): item for key, item in values}
            return entries if len(entries) == len(values) else values
        return values
    return value if value is None or isinstance(value, str | int) else str(value)
