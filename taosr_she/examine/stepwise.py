"""Annotations in TRL's stepwise-supervision layout: a prompt, its completions (the steps), a label for each.

One row has the annotations of one annotator for one response (or, as references, for one pair). `completions` are the
steps in schema order as written in a response (`[category] same`), `labels` whether each is correct. Steps without a
verdict are absent. Columns that trainers ignore contain the rest: ids, annotator, and lists parallel to `completions`
for time, note and correction. `unsure` and `cannot_tell` are neither true nor false, so such records are in a column of
their own, `unsure`; an annotator who abstained from every step has a row without completions.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from taosr_she.domain.annotation import ABSTAINS, BadAnnotation, annotation_from_row
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Annotation, Pair
from taosr_she.domain.prompt import render_prompt
from taosr_she.domain.response import find_headers

Row = dict[str, Any]
_SHARED = ("pair_id", "response_id", "annotator", "guideline_version")  # one value a row
_LISTS = {"times": "time", "notes": "note", "corrections": "correction"}  # column -> field, one value a completion


def rows_from_annotations(domain: Domain, annotations: Iterable[Annotation], pairs: Mapping[str, Pair]) -> list[Row]:
    """Rows in the order of their first record. `pairs` must have every annotated pair."""
    groups: dict[tuple[str, ...], list[dict[str, Annotation]]] = {}
    for a in annotations:
        alike = groups.setdefault(tuple(getattr(a, name) for name in _SHARED), [])
        row = next((row for row in alike if a.step not in row), None)
        if row is None:
            alike.append(row := {})
        row[a.step] = a
    return [_row(domain, said, pairs[key[0]]) for key, alike in groups.items() for said in alike]


def annotations_from_stepwise(domain: Domain, row: Any) -> Iterator[Annotation | tuple[BadAnnotation, Any]]:
    """The records of a row; for each that cannot be read, the reason and the row. Other columns are ignored."""
    if not isinstance(row, dict):
        yield BadAnnotation("not an object", "a row is an object"), row
        return
    completions, labels, unsure = row.get("completions"), row.get("labels"), row.get("unsure") or []
    if not isinstance(completions, list) or not isinstance(labels, list) or len(completions) != len(labels):
        yield BadAnnotation("wrong type", "completions and labels are not lists of equal length"), row
        return
    if not isinstance(unsure, list):
        yield BadAnnotation("wrong type", "unsure is not a list"), row
        return
    shared = {name: row.get(name) for name in _SHARED}
    for number, (completion, label) in enumerate(zip(completions, labels, strict=True)):
        try:
            if label not in (True, False):
                raise BadAnnotation("unknown verdict", f"label {number + 1} is neither true nor false")
            said = {field: _listed(row, column, number, len(labels)) for column, field in _LISTS.items()}
            verdict = "correct" if label else "wrong"
            yield _record(domain, completion, shared | said | {"verdict": verdict})
        except BadAnnotation as bad:
            yield bad, row
    for said in unsure:
        try:
            if not isinstance(said, dict):
                raise BadAnnotation("not an object", "one of unsure is no object")
            rest = {name: value for name, value in said.items() if name != "completion" and value is not None}
            yield _record(domain, said.get("completion"), shared | {"verdict": "unsure"} | rest)
        except BadAnnotation as bad:
            yield bad, row


def _row(domain: Domain, said: dict[str, Annotation], pair: Pair) -> Row:
    ordered = [said[key] for key in domain.step_keys if key in said]
    sure = [a for a in ordered if a.verdict not in ABSTAINS]
    return {
        "prompt": render_prompt(domain, pair),
        "completions": [_completion(a) for a in sure],
        "labels": [a.verdict == "correct" for a in sure],
        **{name: getattr(ordered[0], name) for name in _SHARED},
        **{column: [getattr(a, field) for a in sure] for column, field in _LISTS.items()},
        "unsure": [
            {"completion": _completion(a)}
            | {field: getattr(a, field) for field in _LISTS.values()}
            | ({} if a.verdict == "unsure" else {"verdict": a.verdict})
            for a in ordered
            if a.verdict in ABSTAINS
        ],
    }


def _completion(a: Annotation) -> str:
    return f"[{a.step}] {a.conclusion}"


def _record(domain: Domain, completion: Any, values: Row) -> Annotation:
    if not isinstance(completion, str):
        raise BadAnnotation("wrong type", "a completion is not a text")
    header = next(iter(find_headers(completion)), None)
    if header is None or header.start != 0 or header.key not in domain.step_keys:
        raise BadAnnotation(
            "unknown step", f"{completion[:40]!r} does not begin with one of [{'], ['.join(domain.step_keys)}]"
        )
    text = completion[header.end :].removeprefix(" ")
    return annotation_from_row({**values, "step": header.key, "conclusion": text})


def _listed(row: Row, column: str, number: int, length: int) -> Any:
    values = row.get(column)
    if values is None:
        return None
    if not isinstance(values, list) or len(values) != length:
        raise BadAnnotation("wrong type", f"{column} is not a list as long as completions")
    return values[number]
