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
from taosr_she.data.judged import Texts, open_judged
from taosr_she.data.known import Known
from taosr_she.data.read import read_rows
from taosr_she.data.rows import RATERS, BadRow, ReadPair, carried, pair_from_row
from taosr_she.data.tools import ENDINGS as TOOLS
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


@dataclass(slots=True)
class Tally:
    """Numbers about the rows read so far."""

    usable: int = 0
    queries: int = 0  # of the usable rows, as splits count them
    labels: Counter[str | None] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)  # reason -> rows in quarantine
    skipped: int = 0  # rows that `where` excludes
    bad_prices: int = 0
    bad_price: tuple[int, Any] | None = None  # row number and cell of the first price that cannot be read


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The result of reading a file: `len(pairs) + len(rejected) + skipped` is its number of rows."""

    pairs: list[Pair]
    rejected: list[Rejected]
    skipped: int  # rows that `where` excludes
    layout: str
    bad_prices: list[tuple[int, Any]]
    """Row number and cell of prices that cannot be read; these pairs have none."""
    tally: Tally
    product_id: str | None
    """The file's column of product ids."""

    @property
    def counts(self) -> dict[str, int]:
        """Reason -> number of rows in quarantine, most frequent first."""
        return dict(self.tally.rejected.most_common())


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
    texts: Texts | None = None,
) -> LoadResult:
    """Pairs from a file or folder of any known format and layout, with labels as codes of the domain.

    `columns` (our field -> the file's column) overrides the layout. `where` keeps the rows with these values (of our
    fields or the file's columns; a list means any of them). `split` selects a split of a saved Hugging Face dataset. If
    two rows conflict, the first is kept. With `responses`, a row is a response to its pair, in the column `response`: a
    pair may occur several times, and a row without a response is rejected. `quarantine` is written as JSONL of `row,
    reason, detail, raw`, even if it is empty. `encoding` is the encoding of text files that are not UTF-8. `texts` says
    where the texts of queries and products are, for the layouts of search tools (`data.judged`), which have ids.
    Raises UserError for problems of the whole file: missing, empty, another format, a required column absent.
    """
    stream = PairStream(path, domain, layout, columns, require_label, where, split, responses, encoding, texts)
    pairs: list[Pair] = []
    rejected: list[Rejected] = []
    bad_prices: list[tuple[int, Any]] = []
    for found in stream.checked(Known(may_repeat=responses)):
        if isinstance(found, Rejected):
            rejected.append(found)
        else:
            pairs.append(found.pair)
            if found.bad_price is not None:
                bad_prices.append((found.row, found.bad_price))
    if quarantine is not None:
        write_jsonl(quarantine, map(quarantine_row, rejected))
    tally, product_id = stream.tally, stream.columns.product_id
    return LoadResult(pairs, rejected, tally.skipped, stream.layout, bad_prices, tally, product_id)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A row that is a pair."""

    row: int
    pair: Pair
    bad_price: Any = None  # the cell of a price that cannot be read


class PairStream:
    """The rows of a file or folder, read one at a time: each is a pair or is rejected. The parameters are those of
    `load_pairs`, and so are the errors. A stream is read once."""

    def __init__(
        self,
        path: Path,
        domain: Domain,
        layout: str = "auto",
        columns: dict[str, str] | None = None,
        require_label: bool = False,
        where: dict[str, Any] | None = None,
        split: str | None = None,
        responses: bool = False,
        encoding: str | None = None,
        texts: Texts | None = None,
    ) -> None:
        self._domain, self._require_label, self._responses = domain, require_label, responses
        self.tally = Tally()
        texts = texts or Texts()
        texts.check(layout, path)
        if layout in TOOLS:
            found, self.columns = open_judged(path, layout, domain, texts, columns, encoding)
            self.layout, self._where = layout, _Where(where or {}, self.columns)
            self._rows = _look_ahead(path, found)[1]
            return
        joined = find_join(path) if path.is_dir() else None
        if joined and layout == "auto":
            layout = joined
        wanted = _Where(where or {}, column_map(layout, columns)) if joined else None
        rows = read_rows(path, split, wanted.may_match if wanted else None, encoding)
        head, self._rows = _look_ahead(path, rows)
        self.layout, self.columns = choose_layout(layout, columns, head, str(path), require_label)
        if responses and RESPONSE not in head:
            raise UserError(f"{path}: no column '{RESPONSE}'; the columns are {shown_names(head)}")
        self._where = wanted or _Where(where or {}, self.columns)

    def checked(self, known: Known) -> Iterator[Accepted | Rejected]:
        """Every row but those that `where` excludes, compared with the `known` ones, which then include it."""
        tally = self.tally
        for number, row in self._rows:
            if isinstance(row, dict) and not self._where.matches(row):
                tally.skipped += 1
                continue
            try:
                read = self._read(row)
                known.add(read)
            except BadRow as bad:
                tally.rejected[bad.reason] += 1
                yield Rejected(number, bad.reason, bad.detail, row if isinstance(row, dict) else row.raw)
                continue
            tally.usable += 1
            tally.queries = known.count
            tally.labels[read.pair.label] += 1
            cell = None
            if read.bad_price and isinstance(row, dict):
                cell = row.get(self.columns.price or "")
                tally.bad_prices += 1
                tally.bad_price = tally.bad_price or (number, cell)
            yield Accepted(number, read.pair, cell)
        self._where.check()

    def rows(self) -> Iterator[tuple[int, dict[str, Any] | ReadError]]:
        """Row numbers and cells, without a check: for a second reading of a file whose rows were `checked` before."""
        return self._rows

    def pair(self, row: dict[str, Any]) -> Pair | None:
        """The pair of a row, not compared with other rows; None if the row is not usable."""
        try:
            return self._read(row).pair
        except BadRow:
            return None

    def _read(self, row: dict[str, Any] | ReadError) -> ReadPair:
        if isinstance(row, ReadError):
            raise BadRow(row.reason, row.detail)
        if self._responses and not (isinstance(row.get(RESPONSE), str) and row[RESPONSE].strip()):
            raise BadRow("missing response", f"no text in the column '{RESPONSE}'")
        return _with_code(pair_from_row(row, self.columns), self._domain, self._require_label)


def quarantine_row(rejected: Rejected) -> dict[str, Any]:
    """The row of the quarantine file."""
    return {"row": rejected.row, "reason": rejected.reason, "detail": rejected.detail, "raw": carried(rejected.raw)}


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
