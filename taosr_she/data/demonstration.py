"""Stepwise demonstrations as JSONL, one a line."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from taosr_she.errors import UserError


@dataclass(frozen=True)
class Demonstration:
    """A response that a teacher wrote for a pair. `flaws` names the blind spots it fell into, where that is known."""

    pair_id: str
    response: str
    teacher: str
    flaws: tuple[str, ...] = ()


def write_demonstrations(path: Path, demonstrations: Iterable[Demonstration]) -> None:
    """One JSON object a line."""
    with path.open("w", encoding="utf-8") as file:
        for demonstration in demonstrations:
            file.write(json.dumps(asdict(demonstration), ensure_ascii=False) + "\n")


def read_demonstrations(path: Path) -> Iterator[Demonstration]:
    """Raises UserError naming file and line."""
    if not path.is_file():
        raise UserError(f"demonstrations {path}: no such file")
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
                yield Demonstration(row["pair_id"], row["response"], row["teacher"], tuple(row.get("flaws", ())))
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise UserError(
                    f"demonstrations {path}, line {number}: expected an object with pair_id, response and teacher"
                ) from error
