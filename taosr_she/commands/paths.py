"""Paths that appear in messages as the user wrote them: `./a//b/` stays, where `Path` would make it `a/b`."""

from pathlib import Path
from typing import Any

import typer


class WrittenPath(type(Path())):  # type: ignore[misc] # the class of this system's paths
    """A path that prints as the user wrote it. Paths derived from it (`parent`, `/`, `with_name`) print normally.

    >>> str(WrittenPath("./pairs//new.csv")), str(WrittenPath("./pairs//new.csv").with_name("x.csv"))
    ('./pairs//new.csv', 'pairs/x.csv')
    """

    written: str | None = None

    def __str__(self) -> str:
        return super().__str__() if self.written is None else self.written


def path(text: str | Path) -> Path:
    """A path from the command line or a default. ValueError for empty text, which would mean the working folder."""
    if not text:
        raise ValueError("a path cannot be empty")
    written = WrittenPath(text)
    written.written = str(text)
    return written


def path_argument(what: str) -> Any:
    """A path on the command line; `what` is its help text."""
    return typer.Argument(parser=path, help=what)


def path_option(what: str) -> Any:
    """A path given by an option that has the parameter's name."""
    return typer.Option(parser=path, help=what)
