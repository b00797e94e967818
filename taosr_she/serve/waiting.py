"""Calls and their waiting candidates: who is admitted, who is judged next, who has waited too long.

Everything here runs on the event loop's thread, so nothing needs a lock. A call is a request's query with its
candidates. Its candidates can be judged in several batches, together with those of other calls.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from taosr_she.judge.judgement import Judgement
from taosr_she.judge.load import Judge

Row = dict[str, Any]


class Problem(NamedTuple):
    """Why a candidate has no judgement."""

    kind: str  # expired | dropped | stopped | failed
    line: str


Answer = Judgement | Problem


class Full(Exception):
    """The queue has no room for a call; `seconds` until it should have."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"the service is busy; try again in {seconds} s")
        self.seconds = seconds


class Call:
    """A query with its candidates, and the answers to them."""

    def __init__(
        self,
        query: str,
        rows: Sequence[Row],
        seconds: float,
        heard: Callable[[int, str], None] | None = None,
        answered: Callable[[int, Answer], None] | None = None,
    ) -> None:
        """`rows` are rows of the `plain` layout; a candidate may wait for `seconds`. `heard` is called with the number
        of a candidate and a piece of text while the model writes, `answered` with its number and answer."""
        self.query, self.rows, self.heard, self.answered = query, rows, heard, answered
        self.began = time.monotonic()
        self.deadline = self.began + seconds
        self.seconds = seconds
        self.started = 0  # candidates before this number are judged or being judged
        self.left = len(rows)  # candidates without an answer
        self.answers: list[Answer | None] = [None] * len(rows)
        self.judge: Judge | None = None  # the model of its first batch judges all of them
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Number of candidates that no batch has taken."""
        return len(self.rows) - self.started

    def answer(self, number: int, answer: Answer) -> None:
        """Set the answer of a candidate. After the last one, the call is done."""
        if self.answers[number] is None:
            self.answers[number] = answer
            self.left -= 1
            if self.answered is not None:
                self.answered(number, answer)
            if self.left == 0 and not self.done.done():
                self.done.set_result(None)

    def stop_timer(self) -> None:
        """Forget the deadline."""
        if self.timer is not None:
            self.timer.cancel()


class Waiting:
    """The calls that have waiting candidates, oldest first, with at most `bound` candidates."""

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.candidates = 0
        self.rate = 0.0  # candidates per second of the model, a moving average; 0 before the first batch
        self.arrived = asyncio.Event()
        self._calls: dict[Call, None] = {}  # in order

    def admit(self, call: Call) -> None:
        """Add a call. Raises Full if it has no room."""
        over = self.candidates + call.waiting - self.bound
        if over > 0:
            raise Full(max(1, math.ceil(over / self.rate)) if self.rate else 1)
        if call.waiting:
            self._calls[call] = None
            self.candidates += call.waiting
            self.arrived.set()
        elif not call.done.done():
            call.done.set_result(None)

    def take(self, size: int, current: Judge) -> tuple[Judge, list[tuple[Call, int]]]:
        """The model and up to `size` candidates of the next batch, each as call and number.

        The oldest call comes first, then calls with the same query, which share its prefix, then the others in order.
        A call of which a part is left goes to the end of the line, so that a large call does not hold up the small
        ones. All candidates of a call are judged by the same model, even if another one is loaded in between.
        """
        head = next(iter(self._calls))
        judge = head.judge or current
        chosen: list[tuple[Call, int]] = []
        fitting = [call for call in self._calls if call is head or (call.judge or current) is judge]
        for call in sorted(fitting, key=lambda call: call is not head and call.query != head.query):
            if len(chosen) == size:
                break
            numbers = range(call.started, min(len(call.rows), call.started + size - len(chosen)))
            call.judge = judge
            chosen += [(call, number) for number in numbers]
            self._start(call, len(numbers))
        if head in self._calls:
            del self._calls[head]
            self._calls[head] = None
        return judge, chosen

    def drop(self, call: Call, problem: Problem) -> int:
        """Answer all waiting candidates of a call with a problem; they are never judged. Returns their number."""
        numbers = range(call.started, len(call.rows))
        self._start(call, len(numbers))
        for number in numbers:
            call.answer(number, problem)
        return len(numbers)

    def drop_all(self, problem: Problem) -> int:
        """`drop` for every call."""
        return sum(self.drop(call, problem) for call in list(self._calls))

    def extend(self, seconds: float) -> None:
        """Move all deadlines, after a time in which nothing could be judged."""
        for call in self._calls:
            call.deadline += seconds

    def measured(self, candidates: int, seconds: float) -> None:
        """Take the time of a batch into the rate."""
        rate = candidates / max(seconds, 1e-6)
        self.rate = rate if not self.rate else 0.8 * self.rate + 0.2 * rate

    def _start(self, call: Call, count: int) -> None:
        call.started += count
        if call in self._calls:
            self.candidates -= count
            if not call.waiting:
                del self._calls[call]
