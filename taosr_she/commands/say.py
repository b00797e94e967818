"""Output that several commands share, and the message when they are stopped."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from taosr_she.base.errors import Stopped

if TYPE_CHECKING:
    from taosr_she.data.validate import Tally


def say_loaded(screen: Console, path: Path, tally: "Tally", quarantine: Path) -> None:
    """Print how many rows are usable, how many queries and which labels they have, and why the others are not."""
    from taosr_she.data.summary import summary

    for line in summary(path, tally, quarantine):
        screen.print(line, soft_wrap=True)


@contextmanager
def said_when_stopped(kept: Callable[[], str]) -> Iterator[None]:
    """Turn Ctrl-C into `Stopped` with the message of `kept`: what is kept, and how to continue."""
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(kept()) from None
