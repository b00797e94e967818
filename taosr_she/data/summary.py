"""A summary of a file that was read, for people: rows, queries, labels, and why rows were rejected."""

from collections.abc import Iterator
from pathlib import Path

from taosr_she.data.validate import Tally


def summary(path: Path, tally: Tally, quarantine: Path) -> Iterator[str]:
    """The lines to print."""
    rejected = tally.rejected.total()
    yield f"{path}: {tally.usable} of {tally.usable + rejected} rows are usable"
    if tally.usable:
        yield f"  queries: {tally.queries}; labels: {_labels(tally)}"
    if tally.bad_price:
        row, cell = tally.bad_price
        yield (
            f"  unreadable prices: {tally.bad_prices} (row {row}: {str(cell)[:40]!r}); the pairs are kept "
            "without a price, the cells in other columns"
        )
    for reason, count in tally.rejected.most_common():
        yield f"  {count:>6}  {reason}"
    if rejected:
        yield f"rejected rows with reasons: {quarantine}"


def _labels(tally: Tally) -> str:
    without = tally.labels[None]
    counted = [f"{label}: {n}" for label, n in sorted(((x, n) for x, n in tally.labels.items() if x), reverse=True)]
    return ", ".join([*counted, *([f"none: {without}"] if without else [])])
