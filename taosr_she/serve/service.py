"""The service without HTTP: one model thread, a collector that forms batches from what waits, reload and stop.

The model runs in one thread, which alone touches it: also a reload happens there, between two batches, because
loading changes settings of torch that hold for the whole process. While it loads, nothing is judged, and all deadlines
are moved by that time.
"""

import asyncio
import contextvars
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.base.escape import one_line
from taosr_she.judge.judgement import Judgement
from taosr_she.judge.load import Judge
from taosr_she.judge.pairs import part_size
from taosr_she.serve.find import find_model
from taosr_she.serve.loading import load
from taosr_she.serve.metrics import Metrics
from taosr_she.serve.settings import ServeSettings
from taosr_she.serve.waiting import Answer, Call, Problem, Row, Waiting

log = logging.getLogger(__name__)

EXPIRED = Problem("expired", "its deadline was over before it was started")
DROPPED = Problem("dropped", "the client left")
STOPPED = Problem("stopped", "the service stopped")
LOOK = 0.05
"""Seconds between two looks at the calls in progress while stopping."""


class Service:
    """Judges calls in batches. `start` and everything after it belong to one event loop."""

    def __init__(self, settings: ServeSettings, judge: Judge) -> None:
        self.settings, self.judge = settings, judge
        self.name = settings.name or find_model(settings.model).name
        self.batch = settings.batch or part_size(judge.policy)
        self.metrics = Metrics()
        self.loaded = time.time()
        self.metrics.loaded.set(self.loaded)
        self.stopping = False
        self.in_progress = 0  # requests that were accepted and have no answer yet
        self.model_thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._context = contextvars.copy_context()  # a benchmark switches speed-ups off in it
        self._reloads: list[asyncio.Future[str]] = []

    def start(self) -> None:
        """Start collecting."""
        self.waiting = Waiting(self.settings.queue)
        self.collector = asyncio.create_task(self._collect())

    async def close(self) -> None:
        """Stop collecting."""
        self.collector.cancel()
        self.model_thread.shutdown(wait=False, cancel_futures=True)

    def submit(self, call: Call) -> None:
        """Let a call wait for its turn; `call.done` tells when all its candidates have an answer. Raises Full."""
        self.waiting.admit(call)
        call.timer = asyncio.get_running_loop().call_later(call.seconds, self._expire, call)
        call.done.add_done_callback(lambda _: call.stop_timer())
        self._show_queue()

    def drop(self, call: Call, problem: Problem = DROPPED) -> None:
        """Forget the waiting candidates of a call."""
        self.metrics.candidates.labels(problem.kind).inc(self.waiting.drop(call, problem))
        self._show_queue()

    @property
    def not_ready(self) -> str | None:
        """Why the service should get no requests now; None if it should."""
        if self.stopping:
            return "stopping"
        if self.collector.done():
            return "the model thread has stopped"
        if self.waiting.candidates >= self.waiting.bound:
            return "the queue is full"
        return None

    async def reload(self) -> str:
        """Load the model again, from the same place, and swap it in between two batches.

        Returns a line for people. Raises UserError, and keeps the old model, if the new one cannot be used.
        """
        asked: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reloads.append(asked)
        self.waiting.arrived.set()
        return await asked

    async def stop(self) -> None:
        """Refuse new calls and wait until the accepted ones are answered, at most `grace` seconds."""
        self.stopping = True
        until = time.monotonic() + self.settings.grace
        log.info("stopping: %d requests in progress, no new ones", self.in_progress)
        while self.in_progress and time.monotonic() < until:
            await asyncio.sleep(LOOK)
        if self.in_progress:
            self.metrics.candidates.labels("stopped").inc(self.waiting.drop_all(STOPPED))
            self._show_queue()

    def _expire(self, call: Call) -> None:
        late = call.deadline - time.monotonic()  # deadlines are moved after a reload
        if late > 0 or self._reloads:
            call.timer = asyncio.get_running_loop().call_later(max(late, LOOK), self._expire, call)
        else:
            self.drop(call, EXPIRED)

    async def _collect(self) -> None:
        while True:
            await self.waiting.arrived.wait()
            if self._reloads:
                await self._reload()
            if not self.waiting.candidates:
                self.waiting.arrived.clear()
                continue
            judge, batch = self.waiting.take(self.batch, self.judge)
            self._show_queue()
            now = time.monotonic()
            for call, _ in batch:
                self.metrics.waiting.observe(now - call.began)
            self.metrics.batch.observe(len(batch))
            answers, seconds = await self._on_model(self._judge, judge, batch, asyncio.get_running_loop())
            self.metrics.model.observe(seconds)
            self.waiting.measured(len(batch), seconds)
            for (call, number), answer in zip(batch, answers, strict=True):
                self.metrics.candidates.labels(outcome(answer)).inc()
                call.answer(number, answer)
            del batch, answers, judge  # an old model is freed as soon as its last batch is answered

    async def _on_model(self, function: Callable[..., Any], *arguments: Any) -> Any:
        run = asyncio.get_running_loop().run_in_executor
        return await run(self.model_thread, lambda: self._context.run(function, *arguments))

    def _judge(
        self, judge: Judge, batch: list[tuple[Call, int]], loop: asyncio.AbstractEventLoop
    ) -> tuple[list[Answer], float]:
        """On the model thread: the answers of a batch, and the seconds they took."""
        began = time.perf_counter()
        rows = [call.rows[number] for call, number in batch]
        listening = {i: (call.heard, number) for i, (call, number) in enumerate(batch) if call.heard is not None}

        def written(i: int, text: str) -> None:
            if i in listening:
                heard, number = listening[i]
                loop.call_soon_threadsafe(heard, number, text)

        return judged_apart(judge, rows, written if listening else None), time.perf_counter() - began

    async def _reload(self) -> None:
        """Load and check on the model thread, and answer everybody who asked."""
        asked, began = list(self._reloads), time.monotonic()
        try:
            judge = await self._on_model(load, self.settings)
        except Exception as error:  # whatever is wrong with the new model, the old one goes on
            self.metrics.reloads.labels("refused").inc()
            line = f"the model was not reloaded, the old one goes on: {one_line(' '.join(str(error).split()))[:500]}"
            log.error(line, exc_info=None if isinstance(error, UserError) else error)
            outcome_: str | UserError = UserError(line)
        else:
            self.judge, self.loaded = judge, time.time()
            self.metrics.loaded.set(self.loaded)
            self.metrics.reloads.labels("done").inc()
            outcome_ = f"reloaded {self.name} in {time.monotonic() - began:.1f} s"
            log.info(outcome_)
        self.waiting.extend(time.monotonic() - began)
        self._reloads = self._reloads[len(asked) :]
        for one in asked:
            if one.done():
                continue
            if isinstance(outcome_, UserError):
                one.set_exception(outcome_)
            else:
                one.set_result(outcome_)

    def _show_queue(self) -> None:
        self.metrics.queue.set(self.waiting.candidates)


def judged_apart(judge: Judge, rows: Sequence[Row], written: Callable[[int, str], None] | None = None) -> list[Answer]:
    """The judgements of rows. If judging them raises an error, each half is judged alone, and so on, until only the row
    with the error has none."""
    try:
        return list(judge(rows, written=written))
    except Exception as error:
        if len(rows) == 1:
            log.exception("a candidate cannot be judged")
            return [Problem("failed", f"judging failed ({type(error).__name__})")]
        half = len(rows) // 2
        return judged_apart(judge, rows[:half]) + judged_apart(judge, rows[half:])


def outcome(answer: Answer) -> str:
    """One of `metrics.OUTCOMES`."""
    if isinstance(answer, Judgement):
        return "judged" if answer.reason is None else "malformed"
    return answer.kind
