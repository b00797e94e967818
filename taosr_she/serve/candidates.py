"""From the candidates and documents of a request to rows that the judge reads."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from taosr_she.base.config import Strict
from taosr_she.data.rows import MAX_QUERY_CHARS
from taosr_she.serve.replies import Refused
from taosr_she.serve.waiting import Row

SPELLINGS = {
    "title": ("title", "name", "product_title", "product_name", "text"),
    "description": ("description", "product_description"),
    "brand": ("brand", "product_brand"),
    "category": ("category", "categories", "product_category", "product_class", "product_type"),
    "price": ("price", "product_price"),
    "locale": ("locale", "product_locale"),
}
"""Our field -> names that it has in documents of search engines, compared without case. `--field` goes before them."""
NOT_TEXT = frozenset(("id", "_id", "docid", "doc_id", "image", "thumb", "url"))
"""Names whose values say nothing about the product."""


class Passage(Strict):
    """umBRELA's form of a candidate's text."""

    segment: str


class Query(Strict):
    """umBRELA's form of a query."""

    text: str
    qid: str | int | None = None


class Candidate(Strict):
    """A product, with any of the fields of a pair (docs/data.md); or umBRELA's `text` or `doc.segment`.

    The values are checked by the judge, so that a candidate with a wrong one fails alone.
    """

    id: str | int | None = None
    title: Any = None
    description: Any = None
    brand: Any = None
    category: Any = None
    price: Any = None
    attributes: Any = None
    locale: Any = None
    docid: str | int | None = None
    text: Any = None
    doc: Passage | None = None


def check_query(query: str) -> None:
    """Refuse a query that no candidate could be judged for."""
    if not any(c.isprintable() and not c.isspace() for c in query):
        raise Refused(422, "query: has no visible character")
    if len(query) > MAX_QUERY_CHARS:
        raise Refused(422, f"query: {len(query)} characters, at most {MAX_QUERY_CHARS} are read")


def row_of(query: str, candidate: Candidate | str) -> Row:
    """The row of a candidate."""
    if isinstance(candidate, str):
        return {"query": query, "title": candidate}
    names = ("title", "description", "brand", "category", "price", "attributes", "locale")
    row = {name: value for name in names if (value := getattr(candidate, name)) is not None}
    if "title" not in row:
        text = candidate.doc.segment if candidate.doc is not None else candidate.text
        row |= {} if text is None else {"title": text}
    return {"query": query, **row}


def id_of(candidate: Candidate | str, number: int) -> str | int:
    """The candidate's own id, else its number as umBRELA names it: d0, d1, ..."""
    own = None if isinstance(candidate, str) else candidate.id if candidate.id is not None else candidate.docid
    return f"d{number}" if own is None else own


def rows_of_documents(query: str, documents: Sequence[Any], fields: Mapping[str, str]) -> list[Row]:
    """The rows of documents as a search engine stores them: each a text, or an object with fields.

    `fields` is our field -> the document's; other fields are found by their usual names, and everything that is left
    becomes an attribute. Refuses documents of which none has a title.
    """
    rows = [_row_of_document(query, document, fields) for document in documents]
    if documents and not any("title" in row for row in rows):
        first = next((d for d in documents if isinstance(d, Mapping)), {})
        names = ", ".join(str(name)[:40] for name in list(first)[:12]) or "none"
        raise Refused(
            422,
            f"no document has a title (fields: {names}): name one of them title, or start the service with --field "
            "title=NAME",
        )
    return rows


def _row_of_document(query: str, document: Any, fields: Mapping[str, str]) -> Row:
    row: Row = {"query": query}
    if isinstance(document, str):
        return {**row, "title": document}
    if not isinstance(document, Mapping):
        return row
    folded = {str(name).casefold(): name for name in document}
    used: set[Any] = set()
    for field, spellings in SPELLINGS.items():
        wanted = [fields[field].casefold()] if field in fields else spellings
        name = next((folded[s] for s in wanted if s in folded and document[folded[s]] not in (None, "")), None)
        if name is not None:
            row[field] = _text(document[name])
            used.add(name)
    attributes: dict[str, Any] = {}
    if isinstance(own := document.get("attributes"), Mapping):
        attributes = {str(name): _text(value) for name, value in own.items()}
        used.add("attributes")
    for name, value in document.items():
        if name not in used and str(name).casefold() not in NOT_TEXT and value not in (None, ""):
            attributes[str(name)] = _text(value)
    return {**row, "attributes": attributes} if attributes else row


def _text(value: Any) -> Any:
    """A value that the judge can read: a text, a number, or a list of them joined."""
    if isinstance(value, list) and all(isinstance(one, str | int | float) for one in value):
        return ", ".join(map(str, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | Mapping) else value
