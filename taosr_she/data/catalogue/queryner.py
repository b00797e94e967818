"""People's annotations of queries in QueryNER's layout: one BIO tag per word, from one person or from three.

Palen-Michel et al., QueryNER: Segmentation of E-commerce Queries, arXiv 2405.09507.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.data.catalogue.requirement import Reading, Requirement, conclusion, query_step, value
from taosr_she.data.formats import ReadError, read_jsonl
from taosr_she.data.rows import normal_query
from taosr_she.domain.annotation import strict_majority
from taosr_she.domain.conclusions import canonical
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Annotation, Pair

KINDS: dict[str, str] = {
    "core_product_type": "product type", "creator": "brand", "product_name": "model", "product_number": "model",
    "color": "color", "UoM": "size", "quantity": "quantity", "material": "material", "shape": "shape",
    "modifier": "feature", "department": "for", "occasion": "use", "content": "theme", "condition": "condition",
    "price": "price", "origin": "origin", "time": "time",
}  # fmt: skip
"""Kind of span in QueryNER -> our key."""
OBSCURE = "obscure"
"""QueryNER's tag for "I cannot say what is meant": the person abstains on the whole query."""
_LEADING = {"for": ("for",), "use": ("for",), "feature": ("with", "for")}
"""Words without meaning at the start of a span: "for women" and "women" are the same requirement."""


@dataclass(frozen=True, slots=True)
class MarkedQuery:
    """A query, and its tags from every person who annotated it (N tags each for N words)."""

    key: str
    query: str
    tokens: tuple[str, ...]
    tags: dict[str, tuple[str, ...]]


def read_marked(path: Path) -> Iterator[MarkedQuery]:
    """The queries of a JSONL file (also gzipped) of `query_key, query, tokens, tags` and perhaps `annotators`.

    If there are `annotators`, they are the people, `queryner-1` and so on; `tags`, which are derived from them, are
    ignored. Otherwise `tags` are those of `queryner`. Raises a UserError that names file, line and fix.
    """
    if not path.is_file():
        raise UserError(f"queries {path}: no such file")
    for number, row in read_jsonl(path):
        why = row.detail if isinstance(row, ReadError) else _why_not(row)
        if why or isinstance(row, ReadError):
            raise UserError(
                f"queries {path}, line {number}: {why}; expected query_key, query, tokens and one tag per token"
            )
        people = row.get("annotators") or {"": row["tags"]}
        tags = {f"queryner-{name}" if name else "queryner": tuple(said) for name, said in people.items()}
        yield MarkedQuery(row["query_key"], row["query"], tuple(row["tokens"]), tags)


def requirements(tokens: Sequence[str], tags: Sequence[str]) -> Reading | None:
    """The requirements of the query according to one person; None if they abstain. Words without a tag are no
    requirement; "for women" is the requirement `women`."""
    if any(tag[2:] == OBSCURE for tag in tags):
        return None
    found = []
    for kind, start, end in spans(tags):
        key = KINDS[kind]
        chosen = list(tokens[start:end])
        while len(chosen) > 1 and chosen[0].casefold() in _LEADING.get(key, ()):
            del chosen[0]
        text = value(" ".join(chosen)).casefold()
        if text:
            found.append(Requirement(key, text, "people"))
    return tuple(found)


def spans(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """(kind, start, end) of the tagged spans. An `I-` that does not continue a span of its kind starts one."""
    found: list[tuple[str, int, int]] = []
    for n, tag in enumerate(tags):
        kind = tag[2:]
        if tag.startswith("I-") and found and found[-1][2] == n and found[-1][0] == kind:
            found[-1] = (kind, found[-1][1], n + 1)
        elif tag != "O":
            found.append((kind, n, n + 1))
    return found


def readings_by_people(domain: Domain, marked: Sequence[MarkedQuery]) -> dict[str, Reading]:
    """Normal query -> the requirements on which more than half of the people agree who did not abstain. A query without
    a majority, or with a majority for no requirement, is left out."""
    said: dict[str, list[Reading]] = {}
    for each in marked:
        sure = [r for tags in each.tags.values() if (r := requirements(each.tokens, tags)) is not None]
        said.setdefault(normal_query(each.query), []).extend(sure)
    spec = query_step(domain)
    majority = {}
    for query, readings in said.items():
        texts = [canonical(domain, spec, conclusion(domain, reading)) for reading in readings]
        chosen = strict_majority(texts)
        if chosen is not None and any(readings[texts.index(chosen)]):
            majority[query] = readings[texts.index(chosen)]
    return majority


def reading_annotations(
    domain: Domain, marked: Iterable[MarkedQuery], pairs: Iterable[Pair] | None = None
) -> Iterator[Annotation]:
    """Every person's requirements of the query, as a reference of the query step; `unsure` if they abstain.

    For every pair with an annotated query or, without `pairs`, for the queries themselves (`pair_id` is their key).
    """
    places: dict[str, list[str]] = {}
    for pair in pairs or ():
        places.setdefault(normal_query(pair.query), []).append(pair.pair_id)
    step = query_step(domain).key
    for each in marked:
        for name, tags in each.tags.items():
            reading = requirements(each.tokens, tags)
            text, verdict = conclusion(domain, reading or ()), "unsure" if reading is None else "correct"
            for pair_id in [each.key] if pairs is None else places.get(normal_query(each.query), ()):
                yield Annotation(pair_id, step, text, verdict, annotator=name)


def _why_not(row: dict[str, Any]) -> str:
    for name, kind in (("query_key", str), ("query", str), ("tokens", list), ("tags", list)):
        if not isinstance(row.get(name), kind):
            return f"no {name}"
    people = row.get("annotators") or {}
    if not isinstance(people, dict):
        return "annotators is not a mapping of names to tags"
    for said in (row["tags"], *people.values()):
        if not isinstance(said, list) or len(said) != len(row["tokens"]):
            return "the number of tags differs from the number of tokens"
        known = {"O", *(f"{mark}-{kind}" for mark in "BI" for kind in (*KINDS, OBSCURE))}
        odd = [tag for tag in said if tag not in known]
        if odd:
            return f"unknown tag {str(odd[0])[:40]!r}"
    return "" if all(isinstance(token, str) for token in row["tokens"]) else "a token is not text"
