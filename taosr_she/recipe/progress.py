"""Live progress of a run: one line per stage, with time left; plain lines without a terminal."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Column

from taosr_she.base.escape import one_line

PACE_STEPS = 3
"""Number of steps after the first one that are needed to estimate the time left."""
WIDE = 110
"""Minimum number of terminal columns for long bars."""


class Progress(AbstractContextManager["Progress"]):
    """Draws the stages. In a terminal: bars. Elsewhere (CI, files): a line at most every `quiet_seconds`."""

    def __init__(self, console: Console, quiet_seconds: float = 15.0) -> None:
        self.console = console
        self._quiet = quiet_seconds
        self._last = 0.0
        self._live = console.is_terminal
        self.log: Callable[[str], None] = lambda text: None
        """Receives every line, in a terminal also those that bars replace."""
        self.each_update: Callable[[], None] = lambda: None
        """Called after every update of a stage."""
        bar = BarColumn(bar_width=24 if console.width >= WIDE else 8)
        # Where it is narrow the note takes two lines; else rich would cut all columns, times too.
        note = TextColumn("{task.fields[note]}", markup=False, table_column=Column())
        self._rich = RichProgress(
            TextColumn("{task.description:<14}", markup=False), bar, MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("left"), TimeRemainingColumn(), note, console=console,
        )  # fmt: skip

    def __enter__(self) -> "Progress":
        if self._live:
            self._rich.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if self._live:
            self._rich.stop()

    def say(self, text: str) -> None:
        """One line above the bars."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)
        self.log(text)

    def counter(self, name: str, unit: str) -> Callable[[int], None]:
        """A function `(done)` for work whose end is not known: a line at most every `quiet_seconds`."""
        last = time.monotonic()

        def update(done: int) -> None:
            nonlocal last
            if time.monotonic() - last >= self._quiet:
                last = time.monotonic()
                self.say(f"  {name}: {done} {unit}")

        return update

    def stage(self, name: str, total: int) -> Callable[[int, str], None]:
        """A function `(done, note)` to call as the stage proceeds.

        What is left is told from the second call on, by the pace since the first one: the first step is slow (libraries
        warm up), and the first one after a resume has done a great many at once.
        """
        started = time.monotonic()
        task: TaskID | None = self._rich.add_task(one_line(name), total=total, note="") if self._live else None
        first: tuple[int, float] | None = None  # steps done at the first call, and when that was

        def update(done: int, note: str) -> None:
            nonlocal first
            now = time.monotonic()
            if first is None:
                first = (done, now)
                if task is not None and done > 1:
                    self._rich.reset(task, completed=done)
            if task is not None:
                self._rich.update(task, completed=done, note=one_line(note))
            if now - self._last >= self._quiet or done == total:
                self._last = now
                left = time_left(done - first[0], now - first[1], total - done)
                line = f"  {name}: {done}/{total}, {now - started:.0f} s{left}; {note}"
                (self.say if task is None else self.log)(line)
            self.each_update()

        return update


def time_left(done: int, seconds: float, more: int) -> str:
    """The data of the time in a progress line: `done` steps took `seconds`, and `more` are left."""
    if not more:
        return ""
    return f", about {seconds / done * more:.0f} s left" if done >= PACE_STEPS else ", pace not known yet"
