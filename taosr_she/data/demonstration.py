"""Stepwise demonstrations as JSONL, one per line."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.base.files import write_jsonl
from taosr_she.domain.domain import Domain
from taosr_she.domain.response import parse_response, render_response


@dataclass(frozen=True)
class Demonstration:
    """A response that a teacher wrote for a pair. `flaws` names the blind spots that affected it, if known.

    `taught` names the steps whose conclusions are trained on; None means all. A response may end after a step, as an
    exercise for the steps so far, or be the label alone.
    """

    pair_id: str
    response: str
    teacher: str
    flaws: tuple[str, ...] = ()
    taught: tuple[str, ...] | None = None


def fitted(domain: Domain, demonstrations: Iterable[Demonstration]) -> list[Demonstration]:
    """Demonstrations for a domain with the label step first or alone, from those that end with the label.

    Their sections are put in the domain's order, and those of other steps are left out. An exercise that never comes to
    the label is left out, because every response of the domain begins with it. For a domain with the label behind its
    steps, demonstrations are as they are.
    """
    if domain.label_step != 0:
        return list(demonstrations)
    kept = []
    for one in demonstrations:
        parsed = parse_response(domain, one.response)
        if any(step is None for step in parsed.steps):
            continue
        conclusions = {step.key: step.text for step in parsed.steps if step is not None}
        taught = one.taught and tuple(key for key in one.taught if key in conclusions)
        kept.append(replace(one, response=render_response(domain, conclusions), taught=taught))
    return kept


def write_demonstrations(path: Path, demonstrations: Iterable[Demonstration]) -> None:
    """One JSON object per line; `taught` only if it is set."""
    rows = map(asdict, demonstrations)
    write_jsonl(path, ({k: v for k, v in row.items() if k != "taught" or v is not None} for row in rows))


def read_demonstrations(path: Path) -> Iterator[Demonstration]:
    """Other keys of a line are ignored. Raises a UserError that names the file, the line and the fix."""
    if not path.is_file():
        raise UserError(f"demonstrations {path}: no such file")
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield _demonstration(json.loads(line))
            # ValueError: invalid JSON or not UTF-8. RecursionError: extremely nested brackets.
            except (ValueError, RecursionError, TypeError, KeyError) as error:
                raise UserError(
                    f"demonstrations {path}, line {number}: expected an object with the texts pair_id, response and "
                    "teacher, and optionally flaws and taught, lists of texts; fix or remove the line"
                ) from error


def _demonstration(row: dict[str, Any]) -> Demonstration:
    flaws = row.get("flaws", []) if isinstance(row, dict) else None
    taught = row.get("taught") if isinstance(row, dict) else None
    for names in (flaws, [] if taught is None else taught):
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise TypeError("flaws or taught")
    if not all(isinstance(row[key], str) for key in ("pair_id", "response", "teacher")):
        raise TypeError("texts")
    steps = None if taught is None else tuple(taught)
    return Demonstration(row["pair_id"], row["response"], row["teacher"], tuple(flaws), steps)
