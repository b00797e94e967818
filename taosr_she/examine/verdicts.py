"""Verdicts: for every step of every response, the probability that it is correct, and its source."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from taosr_she.domain.pair import Pair
from taosr_she.domain.response import Response

SOURCES = ("unknown", "human", "gsrm", "scalar", "outcome", "machine")
"""Source codes are indices into this tuple. `machine` is a reference written by a program, not by a person."""
CODE = {name: code for code, name in enumerate(SOURCES)}


@dataclass(frozen=True)
class Verdicts:
    """`values` (B, K) float32 in [0, 1], NaN where unknown; `sources` (B, K) int8, indices into SOURCES."""

    values: np.ndarray
    sources: np.ndarray
    outcomes: np.ndarray | None = None
    """(B,) float32, from an examiner that also decides what a whole response earns; None: its label decides."""


Critiques = tuple[str | None, ...]
"""K critiques of one response: what each step should say by the GSRM's own reasoning; None if that is silent."""


@dataclass(frozen=True)
class Examination:
    """Verdicts (B, K) with their critiques (B entries of K)."""

    verdicts: Verdicts
    critiques: tuple[Critiques, ...]


class Examiner(Protocol):
    """Whatever finds verdicts. `pairs` and `responses` have B entries each."""

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts: ...


def first_wrong(wrong: np.ndarray) -> np.ndarray:
    """(N,) index of the first True of each row (N, K); K where there is none."""
    return np.where(wrong.any(axis=1), wrong.argmax(axis=1), wrong.shape[1])


OutcomeBy = Literal["label", "raters"]


def outcomes(pairs: Sequence[Pair], responses: Sequence[Response], by: OutcomeBy = "label") -> np.ndarray:
    """(B,) float32: 1 if the response is well formed and its label equals the pair's human label, else 0.

    With `raters`, a well formed response gets the share of the pair's raters who gave its label; without known raters
    it is computed as above.
    """

    def earned(pair: Pair, label: str | None) -> float:
        if by == "raters" and pair.raters:
            return sum(grade == label for grade in pair.raters) / len(pair.raters)
        return float(label == pair.label)

    earnings = [earned(p, r.label) if r.well_formed else 0.0 for p, r in zip(pairs, responses, strict=True)]
    return np.asarray(earnings, dtype=np.float32)
