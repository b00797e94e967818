"""The terminal that every command prints to: what is printed is text, whatever it holds."""

import os
from typing import Any

from rich.console import Console
from rich.text import Text

from taosr_she.base.escape import plain

PIPE_WIDTH = 140
"""Characters of a line where there is no terminal and COLUMNS says nothing."""


class Terminal(Console):
    """A rich console in which no string is markup, an emoji code or an escape sequence.

    Queries, titles, names of files and models, answers of endpoints and the recipe's own words all end here: this is
    the one place where they are made harmless. Our own styling uses `Text`, never markup.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False, **options})

    def render_str(self, text: str, **options: Any) -> Text:  # type: ignore[override]
        """Every string on its way to the screen: of `print`, and of titles, heads and cells of tables."""
        return super().render_str(plain(text), **{**options, "markup": False, "emoji": False})


def terminal() -> Terminal:
    """Standard output. Files and pipes get lines of PIPE_WIDTH characters, or of COLUMNS where that is set."""
    found = Terminal()
    return found if found.is_terminal or "COLUMNS" in os.environ else Terminal(width=PIPE_WIDTH)
