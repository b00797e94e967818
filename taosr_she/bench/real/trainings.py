"""The trainings of a row. On another kind of processor numbers are rounded otherwise, and a training ends elsewhere:
so the same recipe trained on a CPU and on a GPU shows how well its results repeat.

The tables pool all trainings: every pair counts once in each, and intervals resample queries with all that was said of
their pairs in any training.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from taosr_she.bench.predictions import decode
from taosr_she.bench.real.recipes import real_domain
from taosr_she.bench.real.rows import ROWS
from taosr_she.evaluate.prediction import Prediction

if TYPE_CHECKING:
    from taosr_she.bench.real.kept import Kept


@dataclass(frozen=True)
class Fold:
    """What is kept of one fold of a data set in one training."""

    training: str
    number: int
    cell: dict[str, Any]
    """`pairs`, and `rows`: row -> record."""


def folds_of(kept: "Kept", name: str, numbers: Sequence[int]) -> list[Fold]:
    """The folds of a data set with these numbers, in every training that has them."""
    return [
        Fold(training, int(number), cell)
        for training, sets in kept.items()
        for number, cell in sets.get(name, {}).items()
        if int(number) in numbers
    ]


def covered(folds: Sequence[Fold], row: str, wanted: Sequence[int]) -> list[Fold]:
    """The folds on which a row is measured: those of all trainings in which it has every wanted fold. If there are
    none, those that it has in the training with most of them. A classic baseline is the same in every training."""
    if ROWS[row].kind == "classic":
        having = {fold.number: fold.cell for fold in folds if row in fold.cell["rows"]}
        return [replace(fold, cell=having[fold.number]) for fold in folds if fold.number in having]
    by_training: dict[str, list[Fold]] = {}
    for fold in folds:
        if row in fold.cell["rows"]:
            by_training.setdefault(fold.training, []).append(fold)
    whole = [having for having in by_training.values() if len(having) == len(wanted)]
    most = max(by_training.values(), key=len, default=[])
    return [fold for having in whole for fold in having] or most


def said(name: str, folds: Sequence[Fold], row: str) -> list[Prediction]:
    """The row's predictions on these folds. Pair ids differ between trainings, queries only between folds."""
    domain = real_domain(name)
    return [
        replace(p, pair_id=f"{fold.training}-{fold.number}-{p.pair_id}", query_id=f"{fold.number}-{p.query_id}")
        for fold in folds
        for p in decode(domain, fold.cell["pairs"], fold.cell["rows"][row])
    ]


def seconds(folds: Sequence[Fold], row: str) -> dict[str, dict[str, float]]:
    """Training -> mean seconds of a fold: `training`, `judging`."""
    found = {}
    for training in dict.fromkeys(fold.training for fold in folds):
        records = [fold.cell["rows"][row] for fold in folds if fold.training == training]
        found[training] = {
            "training": sum(record.get("seconds", 0.0) for record in records) / len(records),
            "judging": sum(record["judging_seconds"] for record in records) / len(records),
        }
    return found
