"""Paths that errors name as the user wrote them: `./a//b/` stays so, where `Path` would make it `a/b`."""

from pathlib import Path
from typing import Any

import typer


class WrittenPath(type(Path())):  # type: ignore[misc] # the class of this system's paths
    """A path whose text is the user's. What is derived from it (`parent`, `/`, `with_name`) is an ordinary path text.

    >>> str(WrittenPath("./pairs//new.csv")), str(WrittenPath("./pairs//new.csv").with_name("x.csv"))
    ('./pairs//new.csv', 'pairs/x.csv')
    """

    written: str | None = None

    def __str__(self) -> str:
        return super().__str__() if self.written is None else self.written


def path(text: str | Path) -> Path:
    """From what stands on the command line, or a default. ValueError for no text, which would be the working folder."""
    if not text:
        raise ValueError("an empty text is no path")
    found = WrittenPath(text)
    found.written = str(text)
    return found


def path_argument(what: str) -> Any:
    """A path on the command line; `what` is its help text."""
    return typer.Argument(parser=path, help=what)


def path_option(what: str) -> Any:
    """A path behind an option of the parameter's name."""
    return typer.Option(parser=path, help=what)
