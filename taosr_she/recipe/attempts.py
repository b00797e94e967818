"""Attempts at a training that can fail by chance: which one a stage is in, so that a killed stage goes on with it."""

from pathlib import Path

from taosr_she.base.files import read_object, write_json

FILE = "attempts.json"
"""File in the stage's folder: what the attempts before the present one have learnt."""
ANOTHER_ORDER = 100_000
"""Added to the seed for each further attempt."""


class Attempts:
    """The attempts of a stage; the first has number 1."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._learnt: list[float] = read_object(self._file).get("learnt", [])

    @property
    def number(self) -> int:
        """Number of the present attempt."""
        return len(self._learnt) + 1

    def seed(self, seed: int) -> int:
        """The seed of the present attempt; that of the first is `seed`."""
        return seed + ANOTHER_ORDER * len(self._learnt)

    def again(self, learnt: float) -> None:
        """Begin another attempt, and note what the present one has learnt."""
        self._learnt.append(round(learnt, 3))
        write_json(self._file, {"learnt": self._learnt})
