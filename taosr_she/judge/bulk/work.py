"""What is left of a job, handed out in batches that come back judged, in any order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from taosr_she.domain.pair import Pair
from taosr_she.judge.bulk.parts import Parts
from taosr_she.judge.bulk.reading import PairReader


@dataclass(frozen=True)
class Batch:
    """Pairs that are judged together."""

    part: int
    start: int  # place of the first one in its part
    pairs: Sequence[Pair]


@dataclass
class _Open:
    """A part in work."""

    pairs: Sequence[Pair]
    last_row: int  # of the input
    rows: dict[int, dict[str, Any]]  # place in the part -> columns of its judgement


class Work:
    """Hands out what is not judged yet, and keeps what was judged. Only the parts in work are in memory."""

    def __init__(self, parts: Parts, reader: PairReader) -> None:
        self.parts = parts
        self.count = parts.judged
        """Number of pairs judged so far, in this process or an earlier one."""
        self._reader = reader
        self._open: dict[int, _Open] = {}

    def batches(self, size: int) -> Iterator[Batch]:
        """Batches of at most `size` pairs, in order. `size` is a multiple of the batch at which parts are cut."""
        cut = self.parts.cut
        for number in range(cut.parts):
            if number in self.parts.done:
                self._reader.skip_to(self.parts.done[number])
                continue
            taken = self._reader.take(cut.length(number))
            pairs = [pair for _, pair in taken]
            part = _Open(pairs, taken[-1][0], self.parts.opened(number))
            self._open[number] = part
            for start, end in _gaps(part.rows, len(pairs)):
                for first in range(start, end, size):
                    yield Batch(number, first, pairs[first : min(first + size, end)])
            self._finish_if_whole(number)  # a kill may have come between its last batch and its file

    def keep(self, batch: Batch, columns: list[dict[str, Any]]) -> None:
        """Keep the columns of a batch's judgements; write its part if that is whole."""
        rows = self.parts.add(batch.part, batch.start, columns)
        self._open[batch.part].rows.update(enumerate(rows, batch.start))
        self.count += len(rows)
        self._finish_if_whole(batch.part)

    def _finish_if_whole(self, number: int) -> None:
        part = self._open.get(number)
        if part is not None and len(part.rows) == len(part.pairs):
            self.parts.finish(number, part.pairs, [part.rows[i] for i in range(len(part.pairs))], part.last_row)
            del self._open[number]


def _gaps(known: dict[int, Any], length: int) -> list[tuple[int, int]]:
    """The stretches of places below `length` that are not known.

    >>> _gaps({0: "a", 1: "b", 4: "c"}, 7)
    [(2, 4), (5, 7)]
    """
    edges = [i for i in range(length + 1) if (i < length and i not in known) != (i > 0 and i - 1 not in known)]
    return list(zip(edges[::2], edges[1::2], strict=True))
