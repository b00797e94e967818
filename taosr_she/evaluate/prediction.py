"""One model's answer to one pair, as used in evaluation; stored as JSONL, one prediction per line."""

import functools
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from taosr_she.base.config import describe
from taosr_she.base.errors import UserError
from taosr_she.base.files import write_jsonl


@dataclass(frozen=True)
class Prediction:
    """A model's answer to a pair, with the human label. A baseline has no response and no steps."""

    pair_id: str
    query_id: str  # bootstrap intervals resample queries
    label: str | None  # the human label's code; None if unknown: such a pair cannot be evaluated
    predicted: str | None  # the model's code; None when the response is malformed
    probs: tuple[float, ...] | None = None  # label distribution over `domain.codes`
    response: str = ""
    reason: str | None = None  # why the response is malformed; None when well formed
    steps: tuple[str | None, ...] = ()  # K texts, None where the section is missing
    verdicts: tuple[float, ...] = ()  # K probabilities that the step is right, against the truth; NaN where unknown
    tags: tuple[str, ...] = ()  # slices that the pair belongs to
    tokens: int = 0  # generated tokens


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """Write one JSON object per line, NaN as null. The file is written completely or not at all."""
    write_jsonl(path, map(asdict, predictions))


def read_predictions(path: Path) -> list[Prediction]:
    """The predictions exactly as written. Raises a UserError that names the file, the line and the fix."""
    if not path.is_file():
        raise UserError(f"predictions {path}: no such file")
    predictions = []
    with path.open("rb") as file:  # only "\n" ends a line, because texts may contain U+2028 and the like
        for number, line in enumerate(file, start=1):
            try:
                predictions.append(_prediction(json.loads(line)))
            except ValidationError as error:  # a ValueError too, with a message of many lines
                raise _broken(path, number, describe(error)) from error
            except (ValueError, RecursionError) as error:
                raise _broken(path, number, str(error)) from error
    return predictions


def _broken(path: Path, number: int, message: str) -> UserError:
    return UserError(
        f"predictions {path}, line {number}: not a complete prediction ({' '.join(message.split())}); evaluate again"
    )


def _prediction(row: Any) -> Prediction:
    if not isinstance(row, dict):
        raise ValueError("expected a JSON object")
    missing, unknown = _FIELDS - row.keys(), row.keys() - _FIELDS
    if missing or unknown:
        raise ValueError(f"missing {sorted(missing)}, unknown {sorted(unknown)}")
    for key in ("probs", "verdicts"):
        if isinstance(row[key], list):
            row[key] = [math.nan if value is None else value for value in row[key]]
    prediction: Prediction = _checker().validate_python(row)
    return prediction


_FIELDS = Prediction.__dataclass_fields__.keys()


@functools.cache
def _checker() -> TypeAdapter[Prediction]:
    return TypeAdapter(Prediction)
