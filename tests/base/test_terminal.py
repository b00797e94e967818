"""What a terminal shows is text, and whole at 80 columns: here the progress of a run."""

import io
import re

import pytest

from taosr_she.base.terminal import Terminal
from taosr_she.recipe.progress import Progress


@pytest.mark.parametrize("width", [80, 120])
def test_no_number_is_cut_and_nothing_is_markup(width: int) -> None:
    out = io.StringIO()
    with Progress(Terminal(file=out, force_terminal=True, width=width)) as progress:
        update = progress.stage("[red]srpo", 40)
        update(40, "reward 0.433, signal 0.81, [bold]9438[/bold] tok/s \x1b]0;title\x07")
        progress.say("[red]a line \x1b[2J")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    last = " ".join(text[text.rindex("[red]srpo") :].split())
    assert "…" not in text and re.search(r"40/40 \d:\d\d:\d\d left \d:\d\d:\d\d reward 0.433", last)
    assert r"[bold]9438[/bold] tok/s \x1b]0;title\x07" in last
    assert r"[red]a line \x1b[2J" in text and "\x07" not in text
