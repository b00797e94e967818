"""What people marked in queries, in QueryNER's layout: one BIO tag a word, from one person or from three.

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
"""QueryNER's kind of span -> our key."""
OBSCURE = "obscure"
"""QueryNER's mark of a person who cannot say what is meant: they abstain on the whole query."""
_LEADING = {"for": ("for",), "use": ("for",), "feature": ("with", "for")}
"""Words that open a span and say nothing: "for women" and "women" ask the same."""


@dataclass(frozen=True, slots=True)
class MarkedQuery:
    """A query, and its tags by every person who marked it (N tags each, N words)."""

    key: str
    query: str
    tokens: tuple[str, ...]
    tags: dict[str, tuple[str, ...]]


def read_marked(path: Path) -> Iterator[MarkedQuery]:
    """The queries of a JSONL file (also gzipped) of `query_key, query, tokens, tags` and perhaps `annotators`.

    Where there are `annotators` they are the people, `queryner-1` and so on, and `tags`, which come of them, are left
    out; elsewhere `tags` are those of `queryner`. Raises UserError naming file, line and mend.
    """
    if not path.is_file():
        raise UserError(f"queries {path}: no such file")
    for number, row in read_jsonl(path):
        why = row.detail if isinstance(row, ReadError) else _why_not(row)
        if why or isinstance(row, ReadError):
            raise UserError(
                f"queries {path}, line {number}: {why}; expected query_key, query, tokens and a tag a token"
            )
        people = row.get("annotators") or {"": row["tags"]}
        tags = {f"queryner-{name}" if name else "queryner": tuple(said) for name, said in people.items()}
        yield MarkedQuery(row["query_key"], row["query"], tuple(row["tokens"]), tags)


def requirements(tokens: Sequence[str], tags: Sequence[str]) -> Reading | None:
    """What a person says the query asks for; None where they abstain. Words without a tag ask for nothing; "for women"
    asks for `women`."""
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
    """(kind, start, end) of the marked spans. An `I-` that continues nothing of its kind opens a span."""
    found: list[tuple[str, int, int]] = []
    for n, tag in enumerate(tags):
        kind = tag[2:]
        if tag.startswith("I-") and found and found[-1][2] == n and found[-1][0] == kind:
            found[-1] = (kind, found[-1][1], n + 1)
        elif tag != "O":
            found.append((kind, n, n + 1))
    return found


def readings_by_people(domain: Domain, marked: Sequence[MarkedQuery]) -> dict[str, Reading]:
    """Normal query -> what more than half of the people say who marked it and do not abstain; a query without a
    majority, or with one that it asks for nothing, is not there."""
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
    """What every person says the query asks for, as a reference of the query step; `unsure` where they abstain.

    Of every pair with a marked query, or, without `pairs`, of the queries themselves (their key is the `pair_id`).
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
        return "annotators is no mapping of names to tags"
    for said in (row["tags"], *people.values()):
        if not isinstance(said, list) or len(said) != len(row["tokens"]):
            return "not as many tags as tokens"
        known = {"O", *(f"{mark}-{kind}" for mark in "BI" for kind in (*KINDS, OBSCURE))}
        odd = [tag for tag in said if tag not in known]
        if odd:
            return f"unknown tag {str(odd[0])[:40]!r}"
    return "" if all(isinstance(token, str) for token in row["tokens"]) else "a token is no text"
