"""The two readings of the input: the first checks every row, the second gives out the pairs."""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from taosr_she.base.errors import UserError
from taosr_she.base.files import replacing, write_jsonl
from taosr_she.data.known import Known
from taosr_she.data.on_disk import TextsOnDisk, scratch
from taosr_she.data.validate import PairStream, Rejected, quarantine_row
from taosr_she.data.write import Columns
from taosr_she.domain.pair import Pair

REJECTED = "_rejected"
"""Name of the file with the numbers of the rows in quarantine, one a line."""
KNOWN = "_known.part"
"""Name of the database of ids and queries while the rows are checked. It is scratch."""
_EVERY = 1000  # rows between two calls of `seen`


def check_rows(
    stream: PairStream,
    folder: Path,
    quarantine: Path,
    fits: Callable[[Pair], None] = lambda pair: None,
    seen: Callable[[int], None] = lambda rows: None,
) -> Columns:
    """Read the stream, write its rejected rows to the quarantine and their numbers to the folder; `stream.tally` then
    has the numbers. Returns the columns of the pairs. What earlier rows said is kept on disk, in the folder.

    `fits` may raise UserError for a pair that the output cannot hold; the row is then named. `seen` receives the number
    of rows read so far.
    """
    columns = Columns()
    with closing(scratch(folder / KNOWN)) as base, replacing(folder / REJECTED) as part, part.open("w") as numbers:

        def rejected() -> Iterator[dict[str, object]]:
            for count, found in enumerate(stream.checked(Known(texts=partial(TextsOnDisk, base))), start=1):
                if isinstance(found, Rejected):
                    numbers.write(f"{found.row}\n")
                    yield quarantine_row(found)
                else:
                    try:
                        fits(found.pair)
                    except UserError as error:
                        raise UserError(f"row {found.row}: {error}") from error
                    columns.add(found.pair)
                if count % _EVERY == 0:
                    seen(count)

        write_jsonl(quarantine, rejected())
    (folder / KNOWN).unlink()
    return columns


class PairReader:
    """The pairs of a stream whose rows were checked before, in order."""

    def __init__(self, stream: PairStream, folder: Path) -> None:
        self._stream = stream
        self._rows = stream.rows()
        self._numbers = _numbers(folder / REJECTED)
        self._rejected = next(self._numbers, None)

    def take(self, count: int) -> list[tuple[int, Pair]]:
        """The next `count` pairs with the numbers of their rows. UserError if there are fewer."""
        taken: list[tuple[int, Pair]] = []
        while len(taken) < count:
            number, row = next(self._rows, (0, None))
            if number == self._rejected:
                self._rejected = next(self._numbers, None)
            elif isinstance(row, dict) and (pair := self._stream.pair(row)) is not None:
                taken.append((number, pair))
            else:
                raise UserError("the input has changed while it was judged; delete the folder of parts to start over")
        return taken

    def skip_to(self, last: int) -> None:
        """Go on after the row with the number `last`."""
        while self._rejected is not None and self._rejected <= last:
            self._rejected = next(self._numbers, None)
        for number, _ in self._rows:
            if number >= last:
                break


def _numbers(path: Path) -> Iterator[int]:
    with path.open() as file:
        yield from map(int, file)
