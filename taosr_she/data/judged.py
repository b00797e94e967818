"""Reads judgements of people in the formats of search tools (`tools`), and joins the texts of queries and products."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.data.columns import LAYOUTS, ColumnMap, column_map, shown_names
from taosr_she.data.formats import ReadError, Row, check_encoding, read_csv, read_text, read_words
from taosr_she.data.join import read_file
from taosr_she.data.ratings import Ratings, ratings
from taosr_she.data.rows import BadRow
from taosr_she.data.tools import ENDINGS, UNIT
from taosr_she.domain.domain import Domain

IDS_ONLY = ("trec", "ranx")
"""Formats with the ids of queries. The others have their texts."""


@dataclass(frozen=True)
class Texts:
    """Where the texts are that a file of judgements does not have, and what its ratings mean."""

    products: Path | None = None
    queries: Path | None = None
    ratings: str | None = None

    def check(self, layout: str, path: Path) -> None:
        """UserError if a file that the layout needs is not named, or one is that it does not need."""
        needs = {"--products": layout in ENDINGS, "--queries": layout in IDS_ONLY, "--ratings": None}
        for option, given in (("--products", self.products), ("--queries", self.queries), ("--ratings", self.ratings)):
            if layout not in ENDINGS and given is not None:
                raise UserError(f"{option}: belongs to the layouts {', '.join(ENDINGS)}, not to '{layout}'")
            if needs[option] and given is None:
                whose = "products and queries" if layout in IDS_ONLY else "products"
                raise UserError(
                    f"{path}: the layout '{layout}' has ids, not the texts of {whose}; make pairs of it with "
                    f"`taosr-she data convert`, and name the file with the texts with {option}"
                )
            if needs[option] is False and given is not None:
                raise UserError(f"{option}: the layout '{layout}' has the texts of its queries; leave {option} out")


def open_judged(
    path: Path, layout: str, domain: Domain, texts: Texts, columns: dict[str, str] | None, encoding: str | None
) -> tuple[Iterator[Row], ColumnMap]:
    """The rows of a file of judgements, each with the columns of its query and product and with the code of its label,
    and the meaning of the columns. Row 1 is the first judgement.

    `columns` (our field -> column) is about the files with the texts: `product_id`, `title`, ... about the products,
    `query_id` and `query` about the queries. Only texts that are needed are held in memory. A judgement without a match
    is a ReadError. UserError as `Texts.check`, and for ratings that are not on the scale.
    """
    texts.check(layout, path)
    named = columns or {}
    scale = ratings(domain, texts.ratings, unit=layout in UNIT)
    documents, query_ids = _first_reading(path, layout, scale, encoding)
    assert texts.products is not None
    product_map, product_key = _product_map(texts.products, named, encoding)
    products = _side(texts.products, product_key, documents, "unknown product", encoding)
    queries, text = None, ""
    if texts.queries is not None:
        key, text = named.get("query_id", "query_id"), named.get("query", "query")
        _needed(texts.queries, {"query_id": key, "query": text}, encoding)
        queries = _side(texts.queries, key, query_ids, "unknown query", encoding)

    def rows() -> Iterator[Row]:
        for number, row in read_judged(path, layout, encoding):
            yield number, row if isinstance(row, ReadError) else joined(row)

    def joined(row: dict[str, Any]) -> dict[str, Any] | ReadError:
        try:
            query = row if queries is None else row | {"query": queries.row(row["query_id"], row).get(text)}
            product = products.row(row["product_id"], row)
            label = None if row["rating"] is None else scale.code(str(row["rating"]))
        except BadRow as bad:
            return ReadError(bad.reason, bad.detail, str(row))
        except ValueError:
            return ReadError("unknown label", f"the rating {str(row['rating'])[:40]!r} is not a number", str(row))
        kept = {name: cell for name, cell in (product | query).items() if name not in (product_key, "rating")}
        return kept | {"product_id": row["product_id"], "label": label}

    ours = {"query": "query", "query_id": "query_id", "label": "label", "product_id": "product_id"}
    return rows(), product_map.model_copy(update=ours | {"pair_id": None, "tags": None, "raters": None})


def _first_reading(path: Path, layout: str, scale: Ratings, encoding: str | None) -> tuple[set[str], set[str]]:
    """The ids of all products and queries. UserError if a rating is a number, but not on the scale."""
    documents: set[str] = set()
    queries: set[str] = set()
    strange: Counter[str] = Counter()
    first = 0
    for number, row in read_judged(path, layout, encoding):
        if isinstance(row, ReadError):
            continue
        documents.add(row["product_id"])
        queries.add(row.get("query_id", ""))
        try:
            if row["rating"] is not None and scale.code(str(row["rating"])) is None:
                strange[str(row["rating"])[:40]] += 1
                first = first or number
        except ValueError:
            continue  # a row for the quarantine
    if strange:
        shown = ", ".join(rating for rating, _ in strange.most_common(5))
        raise UserError(
            f"{path}: {strange.total()} ratings (row {first} is the first) are not on the scale {scale.shown} of the "
            f"domain '{scale.domain.name}': {shown}; say what the ratings mean, e.g. --ratings "
            f"{scale.shown}, or --ratings codes if they are the codes"
        )
    return documents, queries


@dataclass(frozen=True)
class _Side:
    """A file with texts: the rows that judgements refer to, by id."""

    path: Path
    rows: dict[str, dict[str, Any]]
    unreadable: int
    reason: str

    def row(self, key: str, judgement: dict[str, Any]) -> dict[str, Any]:
        """Raises BadRow if there is none."""
        if key not in self.rows:
            note = f" (which has {self.unreadable} unreadable rows)" if self.unreadable else ""
            raise BadRow(self.reason, f"{key} is not in {self.path.name}{note}")
        return self.rows[key]


def _side(path: Path, key: str, wanted: set[str], reason: str, encoding: str | None) -> _Side:
    rows: dict[str, dict[str, Any]] = {}
    unreadable = 0
    for number, row in read_file(path, encoding):
        if isinstance(row, ReadError) or row.get(key) is None:
            unreadable += 1
            continue
        name = _id(row[key])
        if name in rows:
            raise UserError(f"{path}, row {number}: a second row for {name}; remove one")
        if name in wanted:
            rows[name] = row
    return _Side(path, rows, unreadable, reason)


def _product_map(path: Path, columns: dict[str, str], encoding: str | None) -> tuple[ColumnMap, str]:
    """The meaning of the columns of the product file, and its column of ids: as named, else of the layout that explains
    most columns."""
    named = {field: column for field, column in columns.items() if field not in ("query", "query_id")}
    head = _needed(path, named, encoding)
    best, most = None, 0
    for layout in LAYOUTS:
        mapped = column_map(layout, named)
        explained = len((mapped.consumed() | {mapped.product_id}) & head.keys())
        if mapped.title in head and mapped.product_id in head and explained > most:
            best, most = mapped, explained
    if best is None or best.product_id is None:
        raise UserError(
            f"{path}: needs a column with the products' ids and one with their titles; say which with --column "
            f"product_id=NAME --column title=NAME; the file has: {shown_names(head)}"
        )
    return best, best.product_id


def _needed(path: Path, columns: dict[str, str], encoding: str | None) -> dict[str, Any]:
    """The first readable row. UserError unless it has these columns (our field -> column)."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; check the path")
    head = next((row for _, row in read_file(path, encoding) if isinstance(row, dict)), {})
    for field, column in columns.items():
        if column not in head:
            raise UserError(
                f"{path}: no column '{column}' for the {field}; name the right one with --column {field}=NAME; the "
                f"file has: {shown_names(head)}"
            )
    return head


def _id(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # whole numbers in a column with gaps come as floats
    return str(value).strip()


def read_judged(path: Path, layout: str, encoding: str | None = None) -> Iterator[Row]:
    """The judgements of a file: `query_id` or `query`, `product_id`, `rating` (None where there is none)."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; check the path")
    if encoding is None:
        check_encoding(path)
    return {"trec": _trec, "quepid": _quepid, "opensearch": _opensearch, "ranx": _ranx}[layout](path, encoding)


def _trec(path: Path, encoding: str | None) -> Iterator[Row]:
    for number, cells in read_words(path, encoding):
        if isinstance(cells, ReadError):
            yield number, cells
        elif len(cells) != 4:
            detail = f"{len(cells)} columns; a line of qrels has 4: query, 0, document, rating"
            yield number, ReadError("wrong number of columns", detail, " ".join(cells))
        else:
            yield number, {"query_id": cells[0], "product_id": cells[2], "rating": cells[3]}


def _quepid(path: Path, encoding: str | None) -> Iterator[Row]:
    for number, row in read_csv(path, ",", encoding):
        if isinstance(row, ReadError):
            yield number, row
            continue
        if missing := [name for name in ("query", "docid", "rating") if name not in row]:
            raise UserError(
                f"{path}: no column '{missing[0]}'; ratings of Quepid have the columns query, docid, rating; the file "
                f"has: {shown_names(row)}"
            )
        yield number, _judgement({"query": row["query"]}, row["docid"], row["rating"], row)


def _opensearch(path: Path, encoding: str | None) -> Iterator[Row]:
    document = _json(path, encoding)
    lists = document.get("judgmentRatings") if isinstance(document, dict) else None
    if not isinstance(lists, list):
        raise UserError(f"{path}: no list 'judgmentRatings' in it; is it a judgment list of OpenSearch?")
    number = 0
    for entry in lists:
        entry = entry if isinstance(entry, dict) else {"query": None, "ratings": [entry]}
        found = entry.get("ratings")
        for rating in found if isinstance(found, list) else [found]:
            number += 1
            if isinstance(rating, dict):
                yield (
                    number,
                    _judgement({"query": entry.get("query")}, rating.get("docId"), rating.get("rating"), rating),
                )
            else:
                yield number, ReadError("not an object", "a rating is an object with docId and rating", str(rating))


def _ranx(path: Path, encoding: str | None) -> Iterator[Row]:
    document = _json(path, encoding)
    if not isinstance(document, dict):
        raise UserError(f"{path}: not an object of query ids; is it a file of ranx's Qrels?")
    number = 0
    for query, found in document.items():
        for product, rating in found.items() if isinstance(found, dict) else [(None, found)]:
            number += 1
            yield number, _judgement({"query_id": query}, product, rating, {query: found} if product is None else None)


def _judgement(query: dict[str, Any], product: Any, rating: Any, raw: Any) -> dict[str, Any] | ReadError:
    if product is None or isinstance(product, bool | list | dict) or not _id(product):
        return ReadError("bad id", f"the document's id is {str(product)[:40]!r}", str(raw or product))
    if isinstance(rating, bool | list | dict):
        return ReadError("unknown label", f"the rating is {str(rating)[:40]!r}", str(raw or rating))
    return query | {"product_id": _id(product), "rating": rating}


def _json(path: Path, encoding: str | None) -> Any:
    def unique(entries: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(entries)
        if len(found) < len(entries):
            doubled = next(name for name, count in Counter(name for name, _ in entries).items() if count > 1)
            raise ValueError(f"'{doubled[:80]}' occurs twice in one object")
        return found

    try:
        return json.loads(read_text(path, encoding), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error}); write it again") from error
