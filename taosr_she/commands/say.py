"""What several commands print, and what they say when they are stopped."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from taosr_she.errors import Stopped

if TYPE_CHECKING:
    from taosr_she.data.validate import LoadResult


def say_loaded(screen: Console, path: Path, loaded: "LoadResult", quarantine: Path) -> None:
    """How many rows came through, why the others did not, and where they are."""
    total = len(loaded.pairs) + len(loaded.rejected)
    screen.print(f"{path}: {len(loaded.pairs)} of {total} rows come through", soft_wrap=True)
    for reason, count in sorted(loaded.counts.items(), key=lambda item: -item[1]):
        screen.print(f"  {count:>6}  {reason}", soft_wrap=True)
    if loaded.rejected:
        screen.print(f"rejected rows with reasons: {quarantine}", soft_wrap=True)


@contextmanager
def said_when_stopped(kept: Callable[[], str]) -> Iterator[None]:
    """Inside, Ctrl-C ends the command with what `kept` says: what is kept, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(kept()) from None
