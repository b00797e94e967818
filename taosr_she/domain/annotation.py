"""Annotations as JSONL, one record a line."""

import json
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path

from taosr_she.domain.pair import Annotation
from taosr_she.errors import UserError

_FIELDS = {f.name for f in fields(Annotation)}


def write_annotations(path: Path, annotations: Iterable[Annotation]) -> None:
    """Write one JSON object a line; empty fields are left out."""
    with path.open("w", encoding="utf-8") as file:
        for annotation in annotations:
            kept = {key: value for key, value in asdict(annotation).items() if value}
            file.write(json.dumps(kept, ensure_ascii=False) + "\n")


def read_annotations(path: Path) -> list[Annotation]:
    """Read annotations. Raises UserError naming file, line and mend."""
    if not path.is_file():
        raise UserError(f"annotations {path}: no such file")
    annotations = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            annotations.append(Annotation(**{"conclusion": "", **row}))
        except (json.JSONDecodeError, TypeError) as error:
            raise UserError(
                f"annotations {path}, line {number}: {error}; expected an object with pair_id, step, conclusion "
                f"and optionally {', '.join(sorted(_FIELDS - {'pair_id', 'step', 'conclusion'}))}"
            ) from error
    return annotations
