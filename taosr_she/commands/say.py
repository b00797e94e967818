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
    """How many rows came through, of how many queries and with which labels, and why the others did not."""
    from taosr_she.data.summary import summary

    for line in summary(path, loaded, quarantine):
        screen.print(line, highlight=False, markup=False, soft_wrap=True)
