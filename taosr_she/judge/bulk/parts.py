"""The folder of parts: finished parts as files of pairs, a journal of them, and parts in work batch by batch."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.base.files import PART, sha256
from taosr_she.data.write import Columns, write_pairs
from taosr_she.domain.pair import Pair
from taosr_she.judge.bulk.job import RECORD
from taosr_she.judge.bulk.log import Log
from taosr_she.judge.bulk.reading import KNOWN, REJECTED

JOURNAL = "_journal.jsonl"
"""One line for each finished part: number, pairs, last row of the input, malformed responses, size, SHA-256."""
OPEN = "_open"
"""How the logs of parts in work begin, `_open-000003.jsonl`: one line for each judged batch."""
LOCK = "_lock"
"""Locked by the process that works in the folder."""
_MOST_REASONS = 1000  # different reasons of malformed responses that are counted


@dataclass(frozen=True)
class Cut:
    """How the pairs are cut: part `i` holds the pairs from `i * size` on, in batches judged together."""

    pairs: int
    size: int
    batch: int

    @property
    def parts(self) -> int:
        """Number of parts."""
        return -(-self.pairs // self.size)

    def length(self, part: int) -> int:
        """Number of pairs of a part."""
        return min(self.size, self.pairs - part * self.size)


class Parts:
    """The parts of a job in their folder."""

    def __init__(self, folder: Path, suffix: str, cut: Cut, columns: Columns, defuse: bool) -> None:
        self.folder, self.suffix, self.cut, self.columns, self.defuse = folder, suffix, cut, columns, defuse
        self.done: dict[int, int] = {}
        """Finished part -> last row of the input in it."""
        self.reasons: Counter[str | None] = Counter()
        """Why responses are malformed, in finished parts."""
        self._journal = Log(folder / JOURNAL)
        for line in {line["part"]: line for line in self._journal.read()}.values():
            self._check(line)
        self._opened: dict[int, dict[int, dict[str, Any]]] = {}
        for path in sorted(folder.glob(f"{OPEN}-*")):
            self._read_open(int(path.stem.removeprefix(f"{OPEN}-")))

    @property
    def complete(self) -> bool:
        """Whether nothing is left to judge."""
        return len(self.done) == self.cut.parts

    @property
    def judged(self) -> int:
        """Number of judged pairs, those of parts in work included."""
        return sum(map(self.cut.length, self.done)) + sum(map(len, self._opened.values()))

    @property
    def malformed(self) -> int:
        """Number of malformed responses among the judged pairs."""
        opened = [row for rows in self._opened.values() for row in rows.values()]
        return self.reasons.total() + sum(row["malformed"] is not None for row in opened)

    def path(self, part: int) -> Path:
        """The file of a part."""
        return self.folder / f"part-{part:06d}{self.suffix}"

    def paths(self) -> Iterator[Path]:
        """The files of all parts, in order."""
        return map(self.path, range(self.cut.parts))

    def opened(self, part: int) -> dict[int, dict[str, Any]]:
        """What an earlier process has judged of a part in work: place in the part -> columns. It is given away: from
        then on, the caller has it."""
        return self._opened.pop(part, {})

    def add(self, part: int, start: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Keep the columns of a batch that begins at a place of a part, and return them as they are kept: numbers that
        JSON lacks are None."""
        kept: list[dict[str, Any]] = self._log(part).add({"start": start, "rows": rows}, sync=False)["rows"]
        return kept

    def finish(self, part: int, pairs: Sequence[Pair], rows: Sequence[dict[str, Any]], last_row: int) -> None:
        """Write a part. `rows` are the columns of the judgements, `last_row` is the row of its last pair."""
        judged = (replace(pair, extra=pair.extra | row) for pair, row in zip(pairs, rows, strict=True))
        path = self.path(part)
        write_pairs(path, judged, self.defuse, self.columns)
        reasons: Counter[str | None] = Counter(row["malformed"] for row in rows if row["malformed"] is not None)
        facts = {"pairs": len(pairs), "row": last_row, "malformed": dict(reasons)}
        self._journal.add({"part": part, **facts, "size": path.stat().st_size, "sha256": sha256(path)}, sync=True)
        self._log(part).clear()
        self.done[part] = last_row
        self._count(reasons)

    def _log(self, part: int) -> Log:
        return Log(self.folder / f"{OPEN}-{part:06d}.jsonl")

    def _read_open(self, part: int) -> None:
        if part in self.done:  # killed before the log was removed
            self._log(part).clear()
            return
        for line in self._log(part).read():
            self._opened.setdefault(part, {}).update(enumerate(line["rows"], line["start"]))

    def _check(self, line: dict[str, Any]) -> None:
        """Take in a line of the journal. A part whose file is missing is judged again."""
        path = self.path(line["part"])
        if not path.is_file():
            return
        if [path.stat().st_size, sha256(path)] != [line["size"], line["sha256"]]:
            raise UserError(f"{path}: is damaged or was edited; delete it, and its pairs are judged again")
        self.done[line["part"]] = line["row"]
        self._count(Counter(line["malformed"]))

    def _count(self, reasons: Counter[str | None]) -> None:
        self.reasons += reasons
        if len(self.reasons) > _MOST_REASONS:
            rest = sum(count for _, count in self.reasons.most_common()[_MOST_REASONS // 2 :])
            self.reasons = Counter(dict(self.reasons.most_common(_MOST_REASONS // 2)))
            self.reasons["other reasons"] += rest


def check_ours(folder: Path) -> None:
    """UserError if the folder holds anything that no bulk job writes."""
    ours = (RECORD, JOURNAL, LOCK, KNOWN, REJECTED)
    for file in folder.iterdir() if folder.exists() else ():
        name = file.name.removesuffix(PART)
        if name not in ours and file.name not in ours and not name.startswith(("part-", OPEN)):
            raise UserError(f"{folder}: holds {file.name}, which is not a part of a job; name another --out")


def clear(folder: Path) -> None:
    """Remove the parts and what belongs to them, the record last, and the folder."""
    check_ours(folder)
    names = sorted((file.name for file in folder.iterdir()), key=lambda name: (name in (RECORD, LOCK), name))
    for name in names:
        (folder / name).unlink()
    folder.rmdir()
