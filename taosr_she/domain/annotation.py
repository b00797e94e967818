"""Annotations as JSONL, one record a line."""

import json
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path

from taosr_she.domain.pair import Annotation
from taosr_she.errors import UserError

VERDICTS = ("correct", "wrong", "unsure")
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
    with path.open("rb") as file:  # lines end at "\n" alone: texts may hold U+2028 and its like
        for number, line in enumerate(file, start=1):
            try:
                row = {"conclusion": "", **json.loads(line)}
                annotation = Annotation(**row)
                if annotation.verdict not in VERDICTS:
                    raise ValueError(f"verdict {annotation.verdict!r} is none of {', '.join(VERDICTS)}")
            except (TypeError, ValueError) as error:  # no JSON, not UTF-8, no object, missing or unknown keys
                raise UserError(
                    f"annotations {path}, line {number}: {error}; expected an object with pair_id, step, conclusion "
                    f"and optionally {', '.join(sorted(_FIELDS - {'pair_id', 'step', 'conclusion'}))}"
                ) from error
            annotations.append(annotation)
    return annotations
