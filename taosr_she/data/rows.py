"""Converts a row of a file to a pair and back, and lists every reason why a row is rejected."""

import base64
import json
import math
import re
import unicodedata
from dataclasses import dataclass, fields
from typing import Any

from taosr_she.data.columns import LAYOUTS, ColumnMap
from taosr_she.data.fingerprint import fingerprint_config
from taosr_she.data.price import read_price
from taosr_she.domain.fold import fold, fold_case
from taosr_she.domain.pair import Pair, Product

RATERS = "raters"
"""The extra column of `Pair.raters`."""
MAX_QUERY_CHARS = 2_000
MAX_TEXT_CHARS = 100_000

REASONS: dict[str, str] = {
    "broken json": "the line is not valid JSON",
    "not an object": "the line is JSON, but not an object",
    "wrong encoding": "some text is not in the file's encoding, or a text field holds bytes",
    "null byte": "some text contains a null byte",
    "wrong number of columns": "the row has more or fewer cells than the header",
    "broken quotes": "a quoted cell is not closed in its row, or text follows its end",
    "unclear quotes": "a quoted cell spans lines that may be separate rows: correct its quotes",
    "missing query": "there is no query",
    "empty query": "the query has no visible character",
    "missing title": "there is no title",
    "empty title": "the title has no visible character",
    "missing label": "there is no label, and labels are required",
    "missing response": "there is no text in the column `response`, and rows are responses",
    "unknown label": "the label is not on the domain's label scale",
    "wrong type": "a text field does not contain text",
    "text too long": f"a query over {MAX_QUERY_CHARS} characters or another text over {MAX_TEXT_CHARS}",
    "bad attributes": "the attributes are not name and value pairs",
    "bad tags": "the tags are not a list of texts",
    "bad raters": "the raters are not a list of grades, or a grade is not on the domain's label scale",
    "bad id": "an id is neither text nor a whole number",
    "locale not a string": "the locale is not text",
    "conflicting query id": "an earlier row uses the query id for another query",
    "same pair with another label": "an earlier row has the same query and product with another label",
    "conflicting pair id": "an earlier row uses the response's pair_id for another query or product",
    "duplicate pair id": "an earlier row has the same pair id",
    "duplicate pair": "an earlier row is the same (and has no pair id of its own)",
    "unknown query": "the judgement refers to a query that does not exist",
    "unknown product": "the judgement refers to a product that does not exist",
}
"""Every reason of the quarantine file, with its meaning."""


class BadRow(Exception):
    """A row that is not a pair. The callers of `pair_from_row` catch it and keep the row with the reason."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class ReadPair:
    """A pair with its label as spelled in the file, and what validation needs to find duplicates."""

    pair: Pair
    identity: str  # equal for equal locale, query and product
    named: bool  # whether the file gives the pair an id
    bad_price: bool  # whether the price cannot be read: the pair has none, and the cell is kept in `Pair.extra`


def normal_query(query: str) -> str:
    """The query as shown in the prompt, without differences of case. Equal texts are the same query."""
    return fold_case(query)


def plain_query(query: str) -> str:
    """The query without differences of case and white space, but not otherwise normalised.

    Ids made from content, and the assignment to splits, depend on it. With more normalisation, the ids of annotated
    pairs and the splits of measured runs would change.
    """
    return " ".join(query.casefold().split())


def pair_from_row(row: dict[str, Any], columns: ColumnMap) -> ReadPair:
    """The pair in a row. Raises BadRow with one of REASONS.

    Only columns that become a field of the pair can make a row bad. Other columns are kept: bytes as base64, and
    characters that cannot be stored in every format (null, lone surrogates) as escapes.
    """
    ids = (columns.pair_id, columns.query_id)
    text = {name: row[name] for name in columns.used() if name in row}
    _check_characters({k: v for k, v in text.items() if k not in ids or not isinstance(v, bytes)})
    query, title = _needed(row, columns.query, "query"), _needed(row, columns.title, "title")
    if len(query) > MAX_QUERY_CHARS:
        raise BadRow("text too long", f"query of {len(query)} characters")
    price = read_price(_get(row, columns.price))
    bad_price = price is not None and math.isnan(price)
    product = Product(
        title=title,
        description="\n".join(filter(None, (_text(row, c, lines=True) for c in columns.description_columns()))),
        brand=_text(row, columns.brand),
        category=_text(row, columns.category),
        price=None if bad_price else price,
        attributes=_attributes(row, columns),
    )
    locale = _get(row, columns.locale)
    if locale is not None and not isinstance(locale, str):
        raise BadRow("locale not a string", f"locale is {_short(locale)}")
    sold = _id(row, columns.product_id)
    told = [getattr(product, f.name) for f in fields(Product)]
    content = [locale or "", plain_query(query), sold or told]
    folded = [locale or "", normal_query(query), sold or [_folded(value) for value in told]]
    identity = fingerprint_config(folded)
    pair_id, label = _id(row, columns.pair_id), _get(row, columns.label)
    pair = Pair(
        pair_id=pair_id or f"p{identity if folded == content else fingerprint_config(content)}",
        query_id=_id(row, columns.query_id) or f"q{fingerprint_config([locale or '', normal_query(query)])}",
        query=query,
        product=product,
        label=None if label is None or not str(label).strip() else str(label),
        locale=locale or "",
        tags=_tags(_get(row, columns.tags)),
        extra=_extra(row, columns, also=columns.price if bad_price else None) | _raters(_get(row, columns.raters)),
    )
    return ReadPair(pair, identity, named=bool(pair_id), bad_price=bad_price)


def _folded(value: Any) -> Any:
    if isinstance(value, dict):
        return {fold(key): fold(text) for key, text in value.items()}
    return fold(value) if isinstance(value, str) else value


def row_from_pair(pair: Pair) -> dict[str, Any]:
    """The pair as a row of the `plain` layout with every column; attributes, tags and extra columns are unchanged.

    An extra column that has the name of one of ours is written as `extra.<name>` and read back under its own name.
    """
    product = pair.product
    row: dict[str, Any] = {
        "pair_id": pair.pair_id, "query_id": pair.query_id, "query": pair.query, "locale": pair.locale,
        "title": product.title, "description": product.description, "brand": product.brand,
        "category": product.category, "price": product.price, "attributes": dict(product.attributes),
        "label": pair.label, "tags": list(pair.tags),
    }  # fmt: skip
    return row | {_PREFIX + k if _hidden(k) and k != RATERS else k: v for k, v in pair.extra.items()}


_PREFIX = "extra."
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def _hidden(name: str) -> bool:
    return name in LAYOUTS["plain"].consumed() or name.startswith(_PREFIX)


def _extra(row: dict[str, Any], columns: ColumnMap, also: str | None) -> dict[str, Any]:
    """The other columns, and the column `also`, with values that every format can hold."""
    consumed = columns.consumed() - {also}
    kept = {
        carried(k): carried(v)
        for k, v in row.items()
        if v is not None and k not in consumed and (columns.extra is None or k in columns.extra or k == also)
    }
    bare = {k: k.removeprefix(_PREFIX) for k in kept}
    return {bare[k] if k != bare[k] and _hidden(bare[k]) else k: v for k, v in kept.items()}


def carried(value: Any) -> Any:
    """A cell of another column, in a form that every format can store."""
    if isinstance(value, bytes):
        return f"base64:{base64.b64encode(value).decode('ascii')}"
    if isinstance(value, str):
        if not value.isascii() and _SURROGATE.search(value):
            value = value.encode("utf-8", "backslashreplace").decode("utf-8")
        return value.replace("\0", "\\x00")
    if isinstance(value, dict):
        return {carried(k): carried(v) for k, v in value.items()}
    return [carried(v) for v in value] if isinstance(value, list) else value


def _check_characters(row: dict[str, Any]) -> None:
    """Raises BadRow for bytes, null bytes and lone surrogates, which cannot be written to every format."""
    stack: list[tuple[str, Any]] = list(row.items())
    while stack:
        name, value = stack.pop()
        if isinstance(value, str):
            if "\0" in value:
                raise BadRow("null byte", f"{name} contains a null byte")
            if not value.isascii() and _SURROGATE.search(value):
                raise BadRow("wrong encoding", f"{name} contains a lone surrogate (half of a character)")
        elif isinstance(value, dict):
            stack += [(name, v) for v in value.values()] + [(name, k) for k in value]
        elif isinstance(value, list):
            stack += [(name, v) for v in value]
        elif isinstance(value, bytes):
            raise BadRow("wrong encoding", f"{name} holds bytes that are not UTF-8: {_short(value)}")


def _get(row: dict[str, Any], column: str | None) -> Any:
    """The cell, or None if the column or its value is missing."""
    value = row.get(column) if column else None
    return None if isinstance(value, float) and math.isnan(value) else value


def _needed(row: dict[str, Any], column: str | None, field: str) -> str:
    if _get(row, column) is None:
        raise BadRow(f"missing {field}", f"no value for {column or field}")
    text = _text(row, column)
    if all(c.isspace() or unicodedata.category(c)[0] == "C" for c in text):
        raise BadRow(f"empty {field}", f"{column} has no visible character")
    return text


def _text(row: dict[str, Any], column: str | None, lines: bool = False) -> str:
    """Text of a cell, "" if it is missing. A number is read as text; with `lines`, a list of texts is read as lines."""
    value = _get(row, column)
    if value is None:
        return ""
    if lines and isinstance(value, list) and all(isinstance(v, str) for v in value):
        value = "\n".join(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadRow("wrong type", f"{column} is {_short(value)}, not text")
    text = str(value)
    if len(text) > MAX_TEXT_CHARS:
        raise BadRow("text too long", f"{column} of {len(text)} characters")
    return text


def _id(row: dict[str, Any], column: str | None) -> str:
    value = _get(row, column)
    if value is None:
        return ""
    if isinstance(value, bytes):
        value = carried(value)  # binary ids, as databases give out
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # whole numbers in a column with gaps come as floats
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadRow("bad id", f"{column} is {_short(value)}")
    return str(value).strip()


def _attributes(row: dict[str, Any], columns: ColumnMap) -> dict[str, str]:
    if isinstance(columns.attributes, dict):
        texts = {name: _text(row, column) for name, column in columns.attributes.items()}
        return {name: text for name, text in texts.items() if text}
    value = _get(row, columns.attributes)
    if value is None or value == "":
        return {}
    if columns.attributes_form == "features" and isinstance(value, str):
        return _features(value)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise BadRow("bad attributes", f"{columns.attributes} is not a JSON object: {_short(value)}") from error
    if not isinstance(value, dict):
        raise BadRow("bad attributes", f"{columns.attributes} is {_short(value)}, not an object")
    if not all(isinstance(name, str) for name in value):  # possible in a Python dict, not in a file
        raise BadRow("bad attributes", f"{columns.attributes} is {_short(value)}: names must be texts")
    _check_characters(value)  # JSON text can hide what the raw cell did not show
    return {name: _attribute(name, v) for name, v in value.items() if v is not None}


def _attribute(name: str, value: Any) -> str:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(v, str | int | float) for v in values):
        raise BadRow("bad attributes", f"{name} is {_short(value)}, not a text or a list of texts")
    text = ", ".join(str(v).lower() if isinstance(v, bool) else str(v) for v in values)
    if len(text) > MAX_TEXT_CHARS:
        raise BadRow("text too long", f"attribute {name} of {len(text)} characters")
    return text


def _features(text: str) -> dict[str, str]:
    """WANDS' `key:value|key : value`. A part without a key continues the last value; a repeated key collects values."""
    collected: dict[str, list[str]] = {}
    last = "feature"
    for part in text.split("|"):
        key, colon, value = (p.strip() for p in part.partition(":"))
        if not colon:
            key, value = "", key
        last = key or last
        if value:
            collected.setdefault(last, []).append(value)
    return {key: ", ".join(dict.fromkeys(values)) for key, values in collected.items()}


def _tags(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        if value.startswith("["):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError) as error:
                raise BadRow("bad tags", f"tags are not a JSON list: {_short(value)}") from error
        else:
            value = [t.strip() for t in value.split("|") if t.strip()]
    if value is not None and not (isinstance(value, list) and all(isinstance(t, str) for t in value)):
        raise BadRow("bad tags", f"tags are {_short(value)}")
    _check_characters({"tags": value})
    return tuple(value or ())


def _raters(value: Any) -> dict[str, Any]:
    """The grades by people, as an extra column; empty if there are none."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.startswith("[") else [g.strip() for g in value.split("|") if g.strip()]
        except (ValueError, RecursionError) as error:
            raise BadRow("bad raters", f"raters are not a JSON list: {_short(value)}") from error
    if value is not None and not (isinstance(value, list) and all(isinstance(g, str | int) for g in value)):
        raise BadRow("bad raters", f"raters are {_short(value)}")
    return {RATERS: [str(grade) for grade in value]} if value else {}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
