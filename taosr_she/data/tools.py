"""Judgements in the formats of search tools: ids and ratings, without the texts of products.

`trec`: qrels, a line `query-id 0 document-id rating`. `quepid`: CSV with the columns query, docid, rating.
`opensearch`: JSON for a judgment list of type IMPORT_JUDGMENT in OpenSearch's search relevance. `ranx`: JSON of its
Qrels, query id -> document id -> rating. Ratings are whole numbers in `trec` and `ranx`, and between 0 and 1 in
`opensearch`.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO

from taosr_she.base.errors import UserError
from taosr_she.base.files import dumps, open_text
from taosr_she.data.on_disk import scratch
from taosr_she.data.ratings import Ratings
from taosr_she.data.rows import carried
from taosr_she.data.write import cells_writer
from taosr_she.domain.pair import Pair

ENDINGS = {"trec": (".txt", ".trec", ".qrels"), "quepid": (".csv",), "opensearch": (".json",), "ranx": (".json",)}
"""Format -> endings of its files."""
WHOLE = ("trec", "ranx")
"""Formats with whole numbers as ratings."""
UNIT = ("opensearch",)
"""Formats with ratings between 0 and 1."""


def check_scale(name: str, ratings: Ratings) -> None:
    """UserError if the ratings do not fit the format."""
    wrong = [n for n in ratings.numbers if (name in WHOLE and n != int(n)) or (name in UNIT and not 0 <= n <= 1)]
    if wrong:
        kind = "whole numbers" if name in WHOLE else "between 0 and 1"
        raise UserError(f"--ratings {ratings.shown}: ratings of --format {name} are {kind}, not {wrong[0]:g}")


def document_id(pair: Pair, column: str | None) -> str:
    """The product's id in the column, or the pair's id if there is none."""
    value = pair.extra.get(column) if column else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return pair.pair_id if value is None or value == "" else str(carried(value)).strip()


def check_ids(name: str, query_id: str, document: str) -> None:
    """UserError for ids that the format `name` cannot hold."""
    for what, text in (("query", query_id), ("product", document)):
        if name == "trec" and (len(text.split()) != 1 or text != text.strip()):
            raise UserError(f"the {what} id {text[:80]!r} has white space, which --format trec cannot hold")


@dataclass
class Written:
    """Numbers about a file of judgements."""

    judgements: int = 0
    queries: int = 0
    without: int = 0  # pairs that have no label
    repeated: int = 0  # pairs of a query and document that came before

    def told(self, out: Path, name: str, ratings: Ratings) -> str:
        """One line for people."""
        left = [f"{n} {why}" for n, why in ((self.without, "without a label"), (self.repeated, "repeated")) if n]
        omitted = f"; pairs left out: {', '.join(left)}" if left else ""
        return (
            f"wrote {self.judgements} ratings of {self.queries} queries to {out} as {name}, {ratings.shown} "
            f"(rating=label){omitted}"
        )


def write_judgements(
    out: Path, name: str, labelled: Iterable[tuple[Pair, str, str | None]], ratings: Ratings, defuse: bool = False
) -> Written:
    """Write pairs with their document ids and labels (codes) in the format `name`, grouped by query.

    Pairs without a label are left out, and so are pairs of a query and a document that came before. The order is that
    of first appearance. Memory does not grow with the number of pairs: they are grouped on disk, beside the output.
    UserError as `check_ids`. The file is written completely or not at all.
    """
    by_text = name in ("quepid", "opensearch")
    base = out.with_name(f".{out.name}.groups.part")
    out.parent.mkdir(parents=True, exist_ok=True)
    written = Written()
    try:
        with closing(scratch(base)) as database:
            database.execute("CREATE TABLE queries (key TEXT PRIMARY KEY, number INTEGER) WITHOUT ROWID")
            database.execute(
                "CREATE TABLE ratings (query INTEGER, document TEXT, number INTEGER, code TEXT, "
                "PRIMARY KEY (query, document)) WITHOUT ROWID"
            )
            for count, (pair, document, code) in enumerate(labelled):
                if code is None:
                    written.without += 1
                    continue
                check_ids(name, pair.query_id, document)
                key = pair.query if by_text else pair.query_id
                database.execute("INSERT OR IGNORE INTO queries VALUES (?, ?)", (key, count))
                (query,) = database.execute("SELECT number FROM queries WHERE key = ?", (key,)).fetchone()
                added = database.execute(
                    "INSERT OR IGNORE INTO ratings VALUES (?, ?, ?, ?)", (query, document, count, code)
                )
                written.repeated += 1 - added.rowcount
                written.judgements += added.rowcount
            written.queries = database.execute("SELECT count(*) FROM queries").fetchone()[0]
            rows = database.execute(
                "SELECT key, document, code FROM ratings JOIN queries ON query = queries.number "
                "ORDER BY query, ratings.number"
            )
            numbers = {code: ratings.rating(code) for code in ratings.domain.codes}
            groups = (
                (key, [(document, numbers[code]) for _, document, code in group])
                for key, group in groupby(rows, key=lambda row: str(row[0]))
            )
            with open_text(out) as file:
                _write(file, name, groups, out.name, ratings, defuse)
    finally:
        base.unlink(missing_ok=True)
    return written


Groups = Iterator[tuple[str, list[tuple[str, float]]]]


def _write(file: IO[str], name: str, groups: Groups, title: str, ratings: Ratings, defuse: bool) -> None:
    if name == "trec":
        for query, documents in groups:
            file.writelines(f"{query} 0 {document} {rating:.0f}\n" for document, rating in documents)
    elif name == "quepid":
        write = cells_writer(file, ",", defuse)
        write(["query", "docid", "rating"])
        for query, documents in groups:
            for document, rating in documents:
                write([query, document, f"{rating:g}"])
    elif name == "ranx":
        _write_entries(file, "{", (f"{dumps(q)}: {dumps({d: int(r) for d, r in found})}" for q, found in groups), "}")
    else:
        about = f"Ratings of the domain {ratings.domain.name}: {ratings.shown}"
        told = {"name": title, "description": about, "type": "IMPORT_JUDGMENT"}
        entries = (
            dumps({"query": query, "ratings": [{"docId": d, "rating": str(r)} for d, r in found]})
            for query, found in groups
        )
        _write_entries(file, f'{dumps(told)[:-1]}, "judgmentRatings": [', entries, "]}")


def _write_entries(file: IO[str], start: str, entries: Iterator[str], end: str) -> None:
    file.write(start)
    for i, entry in enumerate(entries):
        file.write(f"{',' if i else ''}\n{entry}")
    file.write(f"\n{end}\n")
