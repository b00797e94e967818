"""What several commands print, and what they say when they are stopped."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from taosr_she.base.errors import Stopped

if TYPE_CHECKING:
    from taosr_she.data.validate import LoadResult


def say_loaded(screen: Console, path: Path, loaded: "LoadResult", quarantine: Path) -> None:
    """How many rows came through, of how many queries and with which labels, and why the others did not."""
    from taosr_she.data.summary import summary

    for line in summary(path, loaded, quarantine):
        screen.print(line, soft_wrap=True)


@contextmanager
def said_when_stopped(kept: Callable[[], str]) -> Iterator[None]:
    """Inside, Ctrl-C ends the command with what `kept` says: what is kept, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(kept()) from None
