"""Where commands print, and what several of them print."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from taosr_she.data.validate import LoadResult


def console() -> Console:
    """The terminal; files and pipes get lines of 140 characters."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=140)


def say_loaded(screen: Console, path: Path, loaded: "LoadResult", quarantine: Path) -> None:
    """How many rows came through, why the others did not, and where they are."""
    total = len(loaded.pairs) + len(loaded.rejected)
    screen.print(f"{path}: {len(loaded.pairs)} of {total} rows come through", highlight=False)
    for reason, count in sorted(loaded.counts.items(), key=lambda item: -item[1]):
        screen.print(f"  {count:>6}  {reason}", highlight=False)
    if loaded.rejected:
        screen.print(f"rejected rows with reasons: {quarantine}", highlight=False)
