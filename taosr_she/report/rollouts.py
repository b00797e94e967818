"""Choose the rollouts worth reading: spread over training, of all kinds, from groups whose rollouts disagree.

The choice reads only a few narrow columns; tokens are read only from the files of chosen rows.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taosr_she.base.errors import UserError

WANTED = 30
KINDS = ("wrong_reasoning", "wrong_label", "right", "malformed")
"""Kinds of response, chosen in rotation so that every filter of the page has something to show."""
NARROW = ["group", "rollout", "label", "predicted", "reason", "outcome", "verdicts"]
WIDE = [
    *NARROW, "step", "pair_id", "query", "product", "response", "tokens", "token_steps", "token_advantages", "sources",
]  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """The columns of a row of a rollouts file that the choice needs."""

    index: int
    kind: str
    group: int
    rollout: int
    disagrees: bool  # the rollouts of its group differ in outcome or in a verdict


def choose_rollouts(folder: Path, wanted: int = WANTED) -> list[dict[str, Any]]:
    """Rows (all columns, plus `kind`, `group_size`, `group_right`) in order of updates; the same rows every time.

    Raises UserError for a file that is not Parquet or lacks a column.
    """
    files = sorted(folder.glob("*.parquet"))
    if not files:
        return []
    slots: dict[Path, list[int]] = {}
    for i in range(wanted):  # evenly over the files, first and last included
        slots.setdefault(files[round(i * (len(files) - 1) / max(1, wanted - 1))], []).append(i)
    return [row for path, numbers in slots.items() for row in _from_file(path, numbers)]


def kind_of(row: dict[str, Any]) -> str:
    """malformed | wrong_label | wrong_reasoning (right label, some step known to be wrong) | right."""
    if row["reason"] is not None:
        return "malformed"
    if row["outcome"] < 0.5:
        return "wrong_label"
    return "wrong_reasoning" if any(mark == "wrong" for mark in marks(row["verdicts"])) else "right"


def marks(verdicts: list[float | None]) -> list[str]:
    """right | wrong | unknown for each verdict; a step is an error below 0.5."""
    return ["unknown" if v is None or math.isnan(v) else "right" if v >= 0.5 else "wrong" for v in verdicts]


def _from_file(path: Path, numbers: list[int]) -> list[dict[str, Any]]:
    narrow = _read(path, NARROW).to_pylist()
    groups: dict[int, list[dict[str, Any]]] = {}
    for row in narrow:
        groups.setdefault(row["group"], []).append(row)
    disagreeing = {
        group for group, rows in groups.items() if len({(r["outcome"], *marks(r["verdicts"])) for r in rows}) > 1
    }
    candidates = [
        Candidate(i, kind_of(row), row["group"], row["rollout"], row["group"] in disagreeing)
        for i, row in enumerate(narrow)
    ]
    chosen = _choose(candidates, numbers)
    rows = _read(path, WIDE).take([c.index for c in chosen]).to_pylist()
    for row, candidate in zip(rows, chosen, strict=True):
        mates = groups[candidate.group]
        row |= {
            "kind": candidate.kind,
            "group_size": len(mates),
            "group_right": sum(m["outcome"] >= 0.5 for m in mates),
        }
    return rows


def _choose(candidates: list[Candidate], numbers: list[int]) -> list[Candidate]:
    chosen: list[Candidate] = []
    used: set[int] = set()
    for number in numbers:
        left = [c for c in candidates if c not in chosen]
        if not left:
            break
        kind = KINDS[number % len(KINDS)]
        best = min(
            left,
            key=lambda c: (c.kind != kind, not c.disagrees, c.group in used, KINDS.index(c.kind), c.group, c.rollout),
        )
        chosen.append(best)
        used.add(best.group)
    return sorted(chosen, key=lambda c: (c.group, c.rollout))


def _read(path: Path, columns: list[str]) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        absent = [column for column in columns if column not in pq.read_schema(path).names]
        if absent:
            raise UserError(f"{path}: no column {', '.join(absent)}; was it written by another version?")
        return pq.read_table(path, columns=columns)
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not a Parquet file of rollouts; remove it and build the report again") from error
