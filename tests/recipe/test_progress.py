"""Progress where there is no terminal, told by a clock that stands where the test puts it."""

import io
from collections.abc import Sequence

import pytest
from rich.console import Console

from taosr_she.recipe.progress import Progress


def told(monkeypatch: pytest.MonkeyPatch, calls: Sequence[tuple[float, int]], total: int) -> list[str]:
    """Lines for updates `(seconds since the start, steps done)`."""
    now = 1000.0
    monkeypatch.setattr("taosr_she.recipe.progress.time.monotonic", lambda: now)
    text = io.StringIO()
    with Progress(Console(file=text, width=100), quiet_seconds=0) as progress:
        update = progress.stage("sft", total)
        for seconds, done in calls:
            now = 1000.0 + seconds
            update(done, "loss [1]")
    return text.getvalue().splitlines()


def test_the_slow_first_step_does_not_count_in_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = told(monkeypatch, [(33, 1), (33.1, 2), (33.2, 3), (33.3, 4), (43, 101)], 101)
    assert "1/101, 33 s, pace not known yet; loss [1]" in lines[0] and "pace not known yet" in lines[2]
    assert "4/101, 33 s, about 10 s left" in lines[3]
    assert lines[4] == "  sft: 101/101, 43 s; loss [1]"


def test_what_was_done_before_a_resume_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = told(monkeypatch, [(5, 901), (6, 902), (7, 903), (8, 904)], 1000)
    assert "904/1000, 8 s, about 96 s left" in lines[3]
