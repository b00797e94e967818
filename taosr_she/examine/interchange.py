"""Annotation files: JSONL, Label Studio JSON, TRL's stepwise supervision; reading returns exactly what was written.

A bad record does not affect the others: it goes to a quarantine file with its reason. JSONL keeps the order of records;
the other two group them by pair, response and annotator.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from taosr_she.base.errors import UserError
from taosr_she.base.files import write_json, write_jsonl
from taosr_she.data.formats import ReadError, read_jsonl
from taosr_she.data.validate import Rejected
from taosr_she.domain.annotation import BadAnnotation, annotation_from_row, row_from_annotation
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Annotation, Pair
from taosr_she.examine.label_studio import annotations_from_task, is_json_min, tasks_from_annotations
from taosr_she.examine.stepwise import annotations_from_stepwise, rows_from_annotations

Layout = Literal["jsonl", "label_studio", "stepwise"]
_Parsed = Iterator[Annotation | tuple[BadAnnotation, Any]]


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of reading a file. A rejected `row` is the line number or, in Label Studio JSON, the task (from 1)."""

    annotations: list[Annotation]
    rejected: list[Rejected]

    @property
    def counts(self) -> dict[str, int]:
        """Reason -> number of records in quarantine, the most frequent first."""
        return dict(Counter(r.reason for r in self.rejected).most_common())


def import_annotations(path: Path, layout: Layout, domain: Domain, quarantine: Path | None = None) -> Imported:
    """Read a file of annotations (JSONL and stepwise also gzipped).

    `quarantine` is written as JSONL of `row, reason, detail, raw`, also when empty; reasons are those of
    `domain.annotation` and `data.rows`. Raises UserError for what is wrong with the whole file.
    """
    annotations: list[Annotation] = []
    rejected: list[Rejected] = []
    for number, row in _tasks(path) if layout == "label_studio" else _lines(path):
        if isinstance(row, ReadError):
            rejected.append(Rejected(number, row.reason, row.detail, row.raw))
            continue
        for item in _parse(layout, domain, row):
            if isinstance(item, Annotation):
                annotations.append(item)
            else:
                rejected.append(Rejected(number, item[0].reason, item[0].detail, item[1]))
    if quarantine is not None:
        write_jsonl(
            quarantine, ({"row": r.row, "reason": r.reason, "detail": r.detail, "raw": r.raw} for r in rejected)
        )
    return Imported(annotations, rejected)


def export_annotations(
    path: Path, layout: Layout, annotations: Iterable[Annotation], domain: Domain, pairs: Iterable[Pair] = ()
) -> None:
    """Write a file of annotations, whole or not at all. All layouts but `jsonl` show the pairs, so they need them.

    Raises UserError when an annotated pair or step is unknown.
    """
    if layout == "jsonl":
        write_jsonl(path, (row_from_annotation(a) for a in annotations))
        return
    listed, by_id = list(annotations), {pair.pair_id: pair for pair in pairs}
    _check_known(path, listed, domain, by_id)
    if layout == "stepwise":
        write_jsonl(path, rows_from_annotations(domain, listed, by_id))
    else:
        write_json(path, tasks_from_annotations(domain, listed, by_id))


def _parse(layout: Layout, domain: Domain, row: Any) -> _Parsed:
    if layout == "label_studio":
        return annotations_from_task(domain, row)
    return annotations_from_stepwise(domain, row) if layout == "stepwise" else _from_line(domain, row)


def _from_line(domain: Domain, row: Any) -> _Parsed:
    try:
        annotation = annotation_from_row(row)
        if annotation.step not in domain.step_keys:
            raise BadAnnotation("unknown step", f"{annotation.step!r} is none of {', '.join(domain.step_keys)}")
        yield annotation
    except BadAnnotation as bad:
        yield bad, row


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any] | ReadError]]:
    if not path.is_file():
        raise UserError(f"annotations {path}: no such file")
    return read_jsonl(path)


def _tasks(path: Path) -> Iterator[tuple[int, Any]]:
    if not path.is_file():
        raise UserError(f"annotations {path}: no such file")
    try:
        tasks = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # no JSON or not UTF-8; absurdly nested brackets
        raise UserError(f"annotations {path}: not valid JSON ({error}); export from Label Studio as JSON") from error
    if not isinstance(tasks, list):
        raise UserError(f"annotations {path}: a list of tasks is needed; export from Label Studio as JSON")
    if is_json_min(tasks):
        raise UserError(
            f"annotations {path}: this is JSON-MIN, which leaves out who said what; export from Label Studio as JSON"
        )
    return enumerate(tasks, start=1)


def _check_known(path: Path, annotations: list[Annotation], domain: Domain, pairs: dict[str, Pair]) -> None:
    for a in annotations:
        if a.step not in domain.step_keys:
            raise UserError(
                f"{path}: pair {a.pair_id} has an annotation of step '{a.step}', which domain {domain.name} has not"
            )
    strangers = dict.fromkeys(a.pair_id for a in annotations if a.pair_id not in pairs)
    if strangers:
        raise UserError(
            f"{path}: {len(strangers)} annotated pairs are not among the pairs given, the first is "
            f"'{next(iter(strangers))}'; give the file they came from"
        )
