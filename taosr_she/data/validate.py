"""Validation: every row either becomes a pair or goes to quarantine with a reason. Nothing is lost."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.base.files import write_jsonl
from taosr_she.base.strict_yaml import parse_yaml
from taosr_she.data.columns import ColumnMap, choose_layout, column_map, shown_names
from taosr_she.data.formats import ReadError, Row
from taosr_she.data.join import find_join
from taosr_she.data.read import read_rows
from taosr_she.data.rows import RATERS, BadRow, ReadPair, carried, normal_query, pair_from_row
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair

RESPONSE = "response"
"""The column with the text of responses, in a file of responses."""
_LOOK_AHEAD = 100  # readable rows whose columns decide the layout


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row in quarantine."""

    row: int  # 1 = first row; header and blank lines are not rows
    reason: str  # a key of rows.REASONS
    detail: str
    raw: dict[str, Any] | str  # the cells, or the text of a row that could not be read


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The result of reading a file: `len(pairs) + len(rejected) + skipped` is its number of rows."""

    pairs: list[Pair]
    rejected: list[Rejected]
    skipped: int  # rows that `where` excludes
    layout: str
    bad_prices: list[tuple[int, Any]]
    """Row number and cell of prices that cannot be read; these pairs have none."""

    @property
    def counts(self) -> dict[str, int]:
        """Reason -> number of rows in quarantine, most frequent first."""
        return dict(Counter(r.reason for r in self.rejected).most_common())


def load_pairs(
    path: Path,
    domain: Domain,
    layout: str = "auto",
    columns: dict[str, str] | None = None,
    require_label: bool = False,
    quarantine: Path | None = None,
    where: dict[str, Any] | None = None,
    split: str | None = None,
    responses: bool = False,
    encoding: str | None = None,
) -> LoadResult:
    """Pairs from a file or folder of any known format and layout, with labels as codes of the domain.

    `columns` (our field -> the file's column) overrides the layout. `where` keeps the rows with these values (of our
    fields or the file's columns; a list means any of them). `split` selects a split of a saved Hugging Face dataset. If
    two rows conflict, the first is kept. With `responses`, a row is a response to its pair, in the column `response`: a
    pair may occur several times, and a row without a response is rejected. `quarantine` is written as JSONL of `row,
    reason, detail, raw`, even if it is empty. `encoding` is the encoding of text files that are not UTF-8.
    Raises UserError for problems of the whole file: missing, empty, another format, a required column absent.
    """
    joined = find_join(path) if path.is_dir() else None
    if joined and layout == "auto":
        layout = joined
    wanted = _Where(where or {}, column_map(layout, columns)) if joined else None
    head, rows = _look_ahead(path, read_rows(path, split, wanted.may_match if wanted else None, encoding))
    layout, mapped = choose_layout(layout, columns, head, str(path), require_label)
    if responses and RESPONSE not in head:
        raise UserError(f"{path}: no column '{RESPONSE}'; the columns are {shown_names(head)}")
    wanted = wanted or _Where(where or {}, mapped)
    result = _sort_out(rows, mapped, domain, require_label, wanted, layout, responses)
    if quarantine is not None:
        _write_quarantine(quarantine, result.rejected)
    return result


def _sort_out(
    rows: Iterator[Row],
    mapped: ColumnMap,
    domain: Domain,
    require_label: bool,
    where: "_Where",
    layout: str,
    responses: bool,
) -> LoadResult:
    pairs: list[Pair] = []
    rejected: list[Rejected] = []
    skipped = 0
    bad_prices: list[tuple[int, Any]] = []
    known = _Known(may_repeat=responses)
    for number, row in rows:
        if isinstance(row, ReadError):
            rejected.append(Rejected(number, row.reason, row.detail, row.raw))
        elif not where.matches(row):
            skipped += 1
        else:
            try:
                if responses and not (isinstance(row.get(RESPONSE), str) and row[RESPONSE].strip()):
                    raise BadRow("missing response", f"no text in the column '{RESPONSE}'")
                read = _with_code(pair_from_row(row, mapped), domain, require_label)
                known.add(read)
                pairs.append(read.pair)
                if read.bad_price:
                    bad_prices.append((number, row.get(mapped.price or "")))
            except BadRow as bad:
                rejected.append(Rejected(number, bad.reason, bad.detail, row))
    where.check()
    return LoadResult(pairs, rejected, skipped, layout, bad_prices)


def _with_code(read: ReadPair, domain: Domain, require_label: bool) -> ReadPair:
    read, label = _with_raters(read, domain), read.pair.label
    if label is None:
        if require_label:
            raise BadRow("missing label", "no label")
        return read
    code = domain.parse_label(label)
    if code is None:
        raise BadRow(
            "unknown label", f"'{label[:40]}' is not on the label scale of {domain.name}: {', '.join(domain.codes)}"
        )
    return replace(read, pair=replace(read.pair, label=code))


UNANIMOUS, DISPUTED = "unanimous", "disputed"
"""Tags of pairs with several human grades: all equal, or not."""


def _with_raters(read: ReadPair, domain: Domain) -> ReadPair:
    pair = read.pair
    if not pair.raters:
        return read
    codes = [domain.parse_label(grade) for grade in pair.raters]
    if None in codes:
        grade = pair.raters[codes.index(None)]
        raise BadRow("bad raters", f"'{grade[:40]}' is none of the grades of {domain.name}: {', '.join(domain.codes)}")
    tag = () if len(codes) < 2 else (UNANIMOUS if len(set(codes)) == 1 else DISPUTED,)
    tags = (*(t for t in pair.tags if t not in (UNANIMOUS, DISPUTED)), *tag)
    return replace(read, pair=replace(pair, extra=pair.extra | {RATERS: codes}, tags=tags))


@dataclass
class _Known:
    """Ids, queries and labels of the pairs so far."""

    may_repeat: bool = False
    queries: dict[str, str] = field(default_factory=dict)  # query_id -> normal query
    labels: dict[str, str] = field(default_factory=dict)  # identity -> label
    unnamed: set[str] = field(default_factory=set)  # identities of pairs without an id of their own
    ids: dict[str, str] = field(default_factory=dict)  # pair_id -> identity

    def add(self, read: ReadPair) -> None:
        """Record the pair, or raise BadRow if it contradicts or repeats an earlier one."""
        pair, query = read.pair, normal_query(read.pair.query)
        if self.queries.get(pair.query_id, query) != query:
            detail = f"{pair.query_id} is the id of '{self.queries[pair.query_id][:80]}'"
            raise BadRow("conflicting query id", detail)
        label = self.labels.get(read.identity, pair.label)
        if pair.label is not None and label != pair.label:
            raise BadRow("same pair with another label", f"{pair.label} here, {label} earlier")
        if read.named and pair.pair_id in self.ids and not self.may_repeat:
            raise BadRow("duplicate pair id", f"{pair.pair_id} occurs earlier")
        if self.ids.get(pair.pair_id, read.identity) != read.identity:
            # References by people and the reasoning of the GSRM are looked up by the pair's id.
            raise BadRow("conflicting pair id", f"{pair.pair_id} is the id of another query or product earlier")
        if not read.named and read.identity in self.unnamed and not self.may_repeat:
            raise BadRow("duplicate pair", f"the same query and product occur earlier (id {pair.pair_id})")
        self.queries[pair.query_id] = query
        self.ids.setdefault(pair.pair_id, read.identity)
        if not read.named:
            self.unnamed.add(read.identity)
        if pair.label is not None:
            self.labels[read.identity] = pair.label


class _Where:
    """The rows to keep, by the values of columns."""

    def __init__(self, wanted: dict[str, Any], mapped: ColumnMap) -> None:
        self.wanted = {mapped.column_of(name): v if isinstance(v, list) else [v] for name, v in wanted.items()}
        self.missing = set(self.wanted)
        self.seen: dict[str, None] = {}

    def matches(self, row: dict[str, Any]) -> bool:
        if self.missing:  # until every column has been seen once
            self.missing -= row.keys()
            self.seen |= dict.fromkeys(row)
        return all(column in row and is_any(row[column], values) for column, values in self.wanted.items())

    def may_match(self, row: dict[str, Any]) -> bool:
        """Like `matches`, for a row that does not have the columns of joined files yet."""
        return all(is_any(row[column], values) for column, values in self.wanted.items() if column in row)

    def check(self) -> None:
        """UserError if no row had one of the columns: a misspelled name must not look like an empty result."""
        if self.missing:
            raise UserError(
                f"where: no row has {shown_names(sorted(self.missing))}; the columns are {shown_names(self.seen)}"
            )


def is_any(value: Any, wanted: Sequence[Any]) -> bool:
    """Whether the value of a cell is one of these. Text is compared as written. A cell of another type is also compared
    with the YAML value of the text, as in a recipe: `true` matches the cell True, `1.0` the cell 1."""
    if isinstance(value, str):
        return any(value == str(w) for w in wanted)
    return any(value == w or str(value) == str(w) or value == _meant(w) for w in wanted)


def _meant(wanted: Any) -> Any:
    try:
        return parse_yaml(wanted, "where") if isinstance(wanted, str) else wanted
    except UserError:  # text that is not valid YAML without quotes is plain text
        return wanted


def _look_ahead(path: Path, rows: Iterator[Row]) -> tuple[list[str], Iterator[Row]]:
    """The columns of the first readable rows, and an iterator over all rows. UserError if no row is readable."""
    head: list[Row] = []
    columns: dict[str, None] = {}
    readable = 0
    for row in rows:
        head.append(row)
        if isinstance(row[1], dict):
            columns |= dict.fromkeys(row[1])
            readable += 1
            if readable == _LOOK_AHEAD:
                break
    if not head:
        raise UserError(f"{path}: is empty; at least one row with a query and a title is needed")
    first = head[0][1]
    if not readable and isinstance(first, ReadError):
        raise UserError(
            f"{path}: no readable row (row {head[0][0]}: {first.reason}, {first.detail}); is it in this format?"
        )
    return list(columns), chain(head, rows)


def _write_quarantine(path: Path, rejected: list[Rejected]) -> None:
    write_jsonl(path, ({"row": r.row, "reason": r.reason, "detail": r.detail, "raw": carried(r.raw)} for r in rejected))
