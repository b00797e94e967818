"""The terminal that every command prints to. Whatever is printed is shown as plain text."""

import os
from typing import Any

from rich.console import Console
from rich.text import Text

from taosr_she.base.escape import plain

PIPE_WIDTH = 140
"""Width of a line in characters if there is no terminal and COLUMNS is not set."""


class Terminal(Console):
    """A rich console in which no string is markup, an emoji code or an escape sequence.

    Queries, titles, names of files and models, answers of endpoints and the recipe's own words are all printed here.
    This is the only place where they are made harmless. Our own styling uses `Text`, never markup.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False, **options})

    def render_str(self, text: str, **options: Any) -> Text:  # type: ignore[override]
        """Every string on its way to the screen: of `print`, and of titles, heads and cells of tables."""
        return super().render_str(plain(text), **{**options, "markup": False, "emoji": False})


def terminal() -> Terminal:
    """Standard output. Files and pipes get lines of PIPE_WIDTH characters, or of COLUMNS if that is set."""
    console = Terminal()
    return console if console.is_terminal or "COLUMNS" in os.environ else Terminal(width=PIPE_WIDTH)
