"""What several commands print."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from taosr_she.data.validate import LoadResult


def say_loaded(screen: Console, path: Path, loaded: "LoadResult", quarantine: Path) -> None:
    """How many rows came through, why the others did not, and where they are."""
    total = len(loaded.pairs) + len(loaded.rejected)
    screen.print(f"{path}: {len(loaded.pairs)} of {total} rows come through")
    for reason, count in sorted(loaded.counts.items(), key=lambda item: -item[1]):
        screen.print(f"  {count:>6}  {reason}")
    if loaded.rejected:
        screen.print(f"rejected rows with reasons: {quarantine}")
