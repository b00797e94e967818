"""Data sets of several files in one folder: judgements, and the queries and products they refer to."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.data.columns import shown_names
from taosr_she.data.formats import ReadError, Row, check_encoding, file_format, read_csv, read_jsonl
from taosr_she.data.tables import read_parquet

Keep = Callable[[dict[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class Side:
    """A file whose rows belong to the judgements with the same `keys`."""

    file: str
    keys: tuple[str, ...]
    reason: str  # of the rejection of a judgement that has no match in this file


@dataclass(frozen=True, slots=True)
class Join:
    """The file of judgements and the files it refers to."""

    main: str
    sides: tuple[Side, ...]


JOINS: dict[str, Join] = {
    "wands": Join(
        "label.csv",
        (Side("query.csv", ("query_id",), "unknown query"), Side("product.csv", ("product_id",), "unknown product")),
    ),
    "esci": Join(
        "shopping_queries_dataset_examples.parquet",
        (
            Side(
                "shopping_queries_dataset_products.parquet", ("product_locale", "product_id"), "unknown product",
            ),
        ),
    ),
}  # fmt: skip


def find_join(folder: Path) -> str | None:
    """The layout whose files are all in the folder, or None."""
    for layout, join in JOINS.items():
        if all((folder / name).is_file() for name in (join.main, *(s.file for s in join.sides))):
            return layout
    return None


def read_file(path: Path, encoding: str | None = None) -> Iterator[Row]:
    """Rows of one file of any known format. UserError if text is not UTF-8 and `encoding` is not given."""
    kind = file_format(path)
    if kind == "parquet":
        return read_parquet(path)
    if encoding is None:
        check_encoding(path)
    if kind == "jsonl":
        return read_jsonl(path, encoding)
    return read_csv(path, "\t" if kind == "tsv" else None, encoding)


def read_joined(folder: Path, layout: str, keep: Keep | None = None, encoding: str | None = None) -> Iterator[Row]:
    """The judgements of the folder, each with the columns of its query and product.

    Judgements that `keep` rejects are returned without these columns. Only the queries and products that the others
    refer to are held in memory. UserError if a file lacks a key column or has two rows for one key.
    """
    join = JOINS[layout]
    main = folder / join.main
    wanted: list[set[tuple[str, ...]]] = [set() for _ in join.sides]
    for _, row in read_file(main, encoding):
        if isinstance(row, dict) and (keep is None or keep(row)):
            for side, keys in zip(join.sides, wanted, strict=True):
                keys.add(_key(main, row, side))
    tables = [_side_rows(folder / s.file, s, keys, encoding) for s, keys in zip(join.sides, wanted, strict=True)]
    for number, row in read_file(main, encoding):
        if isinstance(row, dict) and (keep is None or keep(row)):
            yield number, _joined(main, row, join, tables)
        else:
            yield number, row


def _joined(
    main: Path, row: dict[str, Any], join: Join, tables: list[tuple[dict[tuple[str, ...], dict[str, Any]], int]]
) -> dict[str, Any] | ReadError:
    whole: dict[str, Any] = {}
    for side, (rows, unreadable) in zip(join.sides, tables, strict=True):
        key = _key(main, row, side)
        if key not in rows:
            note = f" (which has {unreadable} unreadable rows)" if unreadable else ""
            return ReadError(side.reason, f"{', '.join(key)} is not in {side.file}{note}", str(row))
        whole |= rows[key]
    return whole | row


def _side_rows(
    path: Path, side: Side, wanted: set[tuple[str, ...]], encoding: str | None
) -> tuple[dict[tuple[str, ...], dict[str, Any]], int]:
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    unreadable = 0
    for number, row in read_file(path, encoding):
        if isinstance(row, ReadError):
            unreadable += 1
            continue
        key = _key(path, row, side)
        if key in rows:
            raise UserError(f"{path}, row {number}: a second row for {', '.join(key)}; remove one")
        if key in wanted:
            rows[key] = row
    return rows, unreadable


def _key(path: Path, row: dict[str, Any], side: Side) -> tuple[str, ...]:
    missing = [k for k in side.keys if k not in row]
    if missing:
        raise UserError(f"{path}: no column {', '.join(missing)}; the file has: {shown_names(row)}")
    return tuple(str(row[k]) for k in side.keys)
