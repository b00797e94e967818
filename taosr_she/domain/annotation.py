"""Annotation records: their two kinds, one row as a record, and JSONL files of them."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.base.files import write_jsonl
from taosr_she.domain.pair import Annotation

VERDICTS = ("correct", "wrong", "unsure", "cannot_tell")
ABSTAINS = ("unsure", "cannot_tell")
"""Verdicts that count neither way: the annotator is not sure, or what the pair shows does not decide it."""
FIELDS = tuple(f.name for f in fields(Annotation))
_NEEDED = ("pair_id", "step")
_SURROGATE = re.compile(r"[\ud800-\udfff]")

REASONS: dict[str, str] = {
    "not an object": "the record is not an object",
    "missing field": "pair_id, step or verdict is missing",
    "unknown field": "the record has a field that annotations do not have",
    "wrong type": "a field is not text",
    "unknown verdict": f"the verdict is none of {', '.join(VERDICTS)}",
    "unknown step": "the step is not in the domain's step schema",
    "wrong encoding": "some text is not UTF-8",
}
"""Every reason why a row is not an annotation, with its meaning."""


class BadAnnotation(ValueError):
    """A row that is not an annotation; `reason` is a key of REASONS."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def is_reference(annotation: Annotation) -> bool:
    """True for a reference, False for a verdict.

    A record with a `response_id` judges a text. A record without one states the right conclusion, unless its verdict is
    `wrong`: then it is also about the exact text in `conclusion`. A reference that is `unsure` or
    `cannot_tell` abstains.
    """
    return not annotation.response_id and annotation.verdict != "wrong"


def strict_majority(values: Sequence[str]) -> str | None:
    """The value that more than half share, or None."""
    counts = Counter(values).most_common(1)
    return counts[0][0] if counts and 2 * counts[0][1] > len(values) else None


def normal_text(text: str) -> str:
    """A step's text without differences of case and white space. Verdicts on equal texts count as one."""
    return " ".join(text.casefold().split())


def annotation_from_row(row: Any) -> Annotation:
    """The record in a mapping of field names to texts. Raises BadAnnotation with one of REASONS.

    None is the same as a missing field. An id may be a whole number and is read as text.
    """
    if not isinstance(row, dict):
        raise BadAnnotation("not an object", f"found {_short(row)}")
    unknown = [name for name in row if name not in FIELDS]
    if unknown:
        raise BadAnnotation("unknown field", f"{_short(unknown[0])}; the fields are {', '.join(FIELDS)}")
    values = {name: _text(name, value) for name, value in row.items() if value is not None}
    for name in _NEEDED:
        if not values.get(name):
            raise BadAnnotation("missing field", f"no {name}")
    annotation = Annotation(**{"conclusion": "", **values})
    if annotation.verdict not in VERDICTS:
        raise BadAnnotation("unknown verdict", f"verdict {annotation.verdict!r} is none of {', '.join(VERDICTS)}")
    return annotation


def row_from_annotation(annotation: Annotation) -> dict[str, str]:
    """The record as a mapping; empty fields are left out."""
    return {name: value for name, value in asdict(annotation).items() if value}


def write_annotations(path: Path, annotations: Iterable[Annotation]) -> None:
    """Write one JSON object per line; empty fields are left out."""
    write_jsonl(path, map(row_from_annotation, annotations))


def read_annotations(path: Path) -> list[Annotation]:
    """Read annotations, all or none. Raises a UserError that names the file, the line and the fix.

    For external files, whose bad rows should go to a quarantine file, see `examine.interchange`.
    """
    if not path.is_file():
        raise UserError(f"annotations {path}: no such file")
    annotations = []
    with path.open("rb") as file:  # only "\n" ends a line, because texts may contain U+2028 and the like
        for number, line in enumerate(file, start=1):
            try:
                annotations.append(annotation_from_row(json.loads(line)))
            # BadAnnotation, invalid JSON, not UTF-8; RecursionError: extremely nested brackets
            except (ValueError, RecursionError) as error:
                raise UserError(
                    f"annotations {path}, line {number}: {error}; expected an object with pair_id, step, conclusion "
                    f"and optionally {', '.join(FIELDS[3:])}"
                ) from error
    return annotations


def _text(name: str, value: Any) -> str:
    if name.endswith("_id") and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise BadAnnotation("wrong type", f"{name} is {_short(value)}, not text")
    if not value.isascii() and _SURROGATE.search(value):
        raise BadAnnotation("wrong encoding", f"{name} contains a lone surrogate (half of a character)")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
