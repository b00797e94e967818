"""A summary of a loaded file for people: rows, queries, labels, and why rows were rejected."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from taosr_she.data.split import count_queries
from taosr_she.data.validate import LoadResult


def summary(path: Path, loaded: LoadResult, quarantine: Path) -> Iterator[str]:
    """The lines to print."""
    total = len(loaded.pairs) + len(loaded.rejected)
    yield f"{path}: {len(loaded.pairs)} of {total} rows are usable"
    if loaded.pairs:
        yield f"  queries: {count_queries(loaded.pairs)}; labels: {_labels(loaded)}"
    if loaded.bad_prices:
        row, cell = loaded.bad_prices[0]
        yield (
            f"  unreadable prices: {len(loaded.bad_prices)} (row {row}: {str(cell)[:40]!r}); the pairs are kept "
            "without a price, the cells in other columns"
        )
    for reason, count in loaded.counts.items():
        yield f"  {count:>6}  {reason}"
    if loaded.rejected:
        yield f"rejected rows with reasons: {quarantine}"


def _labels(loaded: LoadResult) -> str:
    counts = Counter(pair.label for pair in loaded.pairs)
    without = counts.pop(None, 0)
    counted = [f"{label}: {count}" for label, count in sorted(counts.items(), reverse=True)]
    return ", ".join([*counted, *([f"none: {without}"] if without else [])])
