"""Reads the rows of any file or folder of pairs, and the pairs in files that this package wrote."""

from collections.abc import Iterator
from pathlib import Path

from taosr_she.base.errors import UserError
from taosr_she.data.columns import LAYOUTS
from taosr_she.data.formats import SUFFIXES, EmptyFile, ReadError, Row, file_format
from taosr_she.data.join import JOINS, Keep, find_join, read_file, read_joined
from taosr_she.data.rows import BadRow, pair_from_row
from taosr_she.data.tables import is_dataset, read_dataset
from taosr_she.domain.pair import Pair

QUARANTINE = ".quarantine.jsonl"
"""Ending of a quarantine file, after the name of what was read or written."""


def read_rows(
    path: Path, split: str | None = None, keep: Keep | None = None, encoding: str | None = None
) -> Iterator[Row]:
    """(row number, cells or ReadError) of a file, or of a folder: the files of WANDS or ESCI, a saved Hugging Face
    dataset, or files of pairs (`folder_files`), whose rows are counted on from file to file.

    Rows are streamed: memory does not grow with the file, except for the queries and products of joined folders.
    `split` selects a split of a dataset. `keep` saves joined folders from loading the products of unwanted judgements.
    `encoding` is the encoding of text files that are not UTF-8.
    UserError if nothing at `path` is readable. An error in a single row becomes its ReadError.
    """
    if path.is_dir() and is_dataset(path):
        return read_dataset(path, split)
    if split:
        raise UserError(f"{path}: only a Hugging Face dataset on disk has splits; leave out 'split: {split}'")
    if not path.is_dir():
        if not path.exists():
            raise UserError(f"{path}: no such file or folder; check the path")
        return read_file(path, encoding)
    layout = find_join(path)
    if layout is not None:
        return read_joined(path, layout, keep, encoding)
    return _read_files(folder_files(path), encoding)


def folder_files(folder: Path) -> list[Path]:
    """The files of a folder that are read as one file: those with a known ending, in the order of their names.

    Hidden files, those that start with `_` (as Spark's and our own notes do), and quarantine files are not among them.
    UserError if there are none.
    """
    files = [
        file for file in sorted(folder.iterdir())
        if not file.name.startswith((".", "_")) and not file.name.endswith(QUARANTINE) and _known(file)
    ]  # fmt: skip
    if not files:
        sets = "; ".join(f"{n}: {', '.join((j.main, *(s.file for s in j.sides)))}" for n, j in JOINS.items())
        raise UserError(
            f"{folder}: a folder without files of pairs ({', '.join(SUFFIXES)}), and neither a saved Hugging Face "
            f"dataset nor one with the files of {sets}"
        )
    return files


def _known(file: Path) -> bool:
    try:
        return file.is_file() and bool(file_format(file))
    except UserError:
        return False


def _read_files(files: list[Path], encoding: str | None) -> Iterator[Row]:
    number = 0
    for file in files:
        try:
            for _, row in read_file(file, encoding):
                number += 1
                yield number, row
        except EmptyFile:  # a writer of parts may leave some without rows
            continue


def read_pairs(path: Path) -> list[Pair]:
    """Pairs from a file that `write_pairs` wrote (any format). A broken row is a UserError, because it writes none.

    For external files use `validate.load_pairs`, which knows other layouts and moves broken rows to quarantine.
    """
    pairs = []
    for number, row in read_rows(path):
        try:
            if isinstance(row, ReadError):
                raise BadRow(row.reason, row.detail)
            pairs.append(pair_from_row(row, LAYOUTS["plain"]).pair)
        except BadRow as error:
            raise UserError(f"{path}, row {number}: {error}; was the file changed by hand?") from error
    return pairs
