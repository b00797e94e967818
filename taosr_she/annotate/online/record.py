"""The record of an online training, `online.jsonl`: what people had said before each update, and what it asked.

Two lines an update, each on the disk before it has an effect: first what was heard, then what was asked and withdrawn.
Everything that depends on people is in it, so a killed run that repeats an update hears the same again, and another run
with the same recipe can replay it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taosr_she.annotate.items import Item
from taosr_she.base.errors import UserError
from taosr_she.base.files import dumps, sync, write_text
from taosr_she.domain.annotation import annotation_from_row, row_from_annotation
from taosr_she.domain.pair import Annotation, Pair

RECORD = "online.jsonl"
"""The file, in the folder of the stage."""
Said = dict[tuple[str, ...], Annotation]
"""What people say now, by what a store has one record of."""
Held = dict[str, dict[str, int]]
"""Simulated person -> number of an item in their hands -> update in which they took it."""


@dataclass(frozen=True)
class Heard:
    """What was new in the store before an update."""

    said: tuple[Annotation, ...] = ()
    gone: tuple[Annotation, ...] = ()  # taken back, or replaced by one of `said`
    held: Held = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """What was asked after an update, and which questions (`digest_of` their items) were withdrawn."""

    items: tuple[Item, ...] = ()
    withdrawn: tuple[str, ...] = ()


class Record:
    """The record of one training; opening it drops a line that was being written at a kill."""

    def __init__(self, path: Path, pairs: Mapping[str, Pair], writing: bool = True) -> None:
        """`pairs` by pair_id are those of the training. Raises UserError for a file that is no record of it."""
        self.path = path
        lines = _whole_lines(path)
        try:
            self._heard = [_heard(row) for row in lines[0::2]]
            self._asked = [_asked(row, pairs) for row in lines[1::2]]
        except KeyError as error:
            raise UserError(
                f"{path}: the record of a training on other pairs, or of another version: no {error}"
            ) from None
        if writing:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, "".join(dumps(row) + "\n" for row in lines))
            self._file = path.open("a", encoding="utf-8")

    @property
    def ended(self) -> int:
        """Number of updates of which everything is in the record."""
        return len(self._asked)

    def heard(self, update: int) -> Heard | None:
        """What was heard before this update (from 1); None if it was never begun."""
        return self._heard[update - 1] if update <= len(self._heard) else None

    def asked(self, update: int) -> Asked | None:
        """What was asked after this update; None if it was never ended."""
        return self._asked[update - 1] if update <= len(self._asked) else None

    def write_heard(self, heard: Heard) -> None:
        """Keep what was heard before the next update."""
        said, gone = ([row_from_annotation(a) for a in records] for records in (heard.said, heard.gone))
        self._write({"update": len(self._heard) + 1, "said": said, "gone": gone, "held": heard.held})
        self._heard.append(heard)

    def write_asked(self, asked: Asked) -> None:
        """Keep what was asked after the update that was last begun."""
        items = [_row(item) for item in asked.items]
        self._write({"update": len(self._asked) + 1, "asked": items, "withdrawn": list(asked.withdrawn)})
        self._asked.append(asked)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, row: dict[str, Any]) -> None:
        self._file.write(dumps(row) + "\n")
        self._file.flush()
        sync(self.path)


def said_in(path: Path) -> list[Annotation]:
    """All that people had said when the training ended. Raises UserError if there is no usable record."""
    if not path.is_file():
        raise UserError(f"{path}: no such file: the training asked nobody; give its stage `examination.online`")
    said: Said = {}
    for row in _whole_lines(path)[0::2]:
        take(said, _heard(row))
    return list(said.values())


def take(said: Said, heard: Heard) -> set[str]:
    """Change what is said by what was heard; returns the ids of the pairs about which something is new."""
    for record in heard.gone:
        said.pop(_key(record), None)
    for record in heard.said:
        said[_key(record)] = record
    return {record.pair_id for record in (*heard.said, *heard.gone)}


def news(said: Said, now: Iterable[Annotation]) -> Heard:
    """The difference between what was said and what a store says now."""
    found = {_key(record): record for record in now}
    new = tuple(record for key, record in found.items() if said.get(key) != record)
    return Heard(new, tuple(record for key, record in said.items() if key not in found))


def _key(record: Annotation) -> tuple[str, ...]:
    return record.pair_id, record.step, record.annotator, record.response_id, record.conclusion


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The rows up to the first line that was cut off, or is not the next one."""
    rows: list[dict[str, Any]] = []
    for line in path.read_bytes().split(b"\n") if path.is_file() else []:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            break
        wanted = ("said", "asked")[len(rows) % 2]
        if not isinstance(row, dict) or row.get("update") != len(rows) // 2 + 1 or wanted not in row:
            break
        rows.append(row)
    return rows


def _heard(row: Mapping[str, Any]) -> Heard:
    said, gone = (tuple(annotation_from_row(a) for a in row[name]) for name in ("said", "gone"))
    return Heard(said, gone, row["held"])


def _asked(row: Mapping[str, Any], pairs: Mapping[str, Pair]) -> Asked:
    return Asked(tuple(_item(item, pairs) for item in row["asked"]), tuple(row["withdrawn"]))


def _row(item: Item) -> dict[str, Any]:
    return {
        "pair_id": item.pair.pair_id, "response_id": item.response_id, "asked": list(item.asked),
        "reason": item.reason, "steps": list(item.steps), "examined": dict(item.examined),
    }  # fmt: skip


def _item(row: Mapping[str, Any], pairs: Mapping[str, Pair]) -> Item:
    return Item(
        pair=pairs[row["pair_id"]], asked=tuple(row["asked"]), response_id=row["response_id"],
        steps=tuple(row["steps"]), examined=row["examined"], reason=row["reason"],
    )  # fmt: skip
