"""Asks an endpoint questions, several at a time, until each has a usable answer. Every answer is kept on disk."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock

from taosr_she.base.errors import UserError
from taosr_she.endpoint.budget import Budget, Usage
from taosr_she.endpoint.chat import Message, clean_answer
from taosr_she.endpoint.client import ChatClient
from taosr_she.endpoint.failures import Refused, TryAgain
from taosr_she.endpoint.patience import Patience
from taosr_she.endpoint.records import Record, RecordFile
from taosr_she.endpoint.reply import Answer
from taosr_she.endpoint.retry import pause_seconds
from taosr_she.endpoint.settings import EndpointConfig

BYTES_A_TOKEN = 4
"""To estimate tokens if an answer does not report them."""
_TURN_TOKENS = 16  # upper bound of what a chat template adds to a message

Progress = Callable[[int], Callable[[int, str], object]]
"""Takes the number of open questions; returns a function to call with the number of finished ones and a note."""


@dataclass(frozen=True)
class Question:
    """A question about one pair, and the check whether an answer is usable."""

    key: str
    """Fingerprint of the question; equal questions are asked once."""
    pair_id: str
    messages: Callable[[str], list[Message]]
    """The chat. The argument is the reason why the previous answer was not usable ("" at first)."""
    why_unusable: Callable[[str, bool], str | None]
    """The reason why an answer is not usable, or None. Arguments: the cleaned answer and whether it is complete."""


class _Stopped(Exception):
    """Ends this worker, because a limit is reached or another worker has failed."""


class Asker:
    """Holds the connection, the file of answers and the budget. Used from one thread; starts several itself.

    A question is decided by a usable answer, or by `attempts` unusable answers that were asked for with at least the
    current `max_tokens`. A refusal decides it for the lifetime of this object.
    """

    def __init__(self, config: EndpointConfig, path: Path, sleep: Callable[[float], object] | None = None) -> None:
        """`path` is the JSONL file of all answers. `sleep` replaces waiting in tests. Raises UserError."""
        self.config, self.path = config, path
        self.client = ChatClient(config)
        self._file = RecordFile(path)
        self.budget = Budget(
            sum((r.usage for r in self._file.records), Usage()), config.spend_limit, config.token_limit
        )
        self.unanswered: dict[str, str] = {}
        """Questions that got no answer despite all retries, with the reason. A later run asks them again."""
        self._patience = Patience()
        self._decided: dict[str, Record] = {}
        self._tried: Counter[str] = Counter()
        self._refused_before = {r.key for r in self._file.records if r.outcome == "refused"}
        self._answered = {r.key for r in self._file.records if r.outcome in ("kept", "wrong")}
        for record in self._file.records:
            if record.outcome != "refused":
                self._remember(record)
        self._stop = Event()
        self._sleep = sleep or self._stop.wait  # a waiting worker notices at once when the run ends
        self._lock = Lock()

    @property
    def estimated(self) -> int:
        """Number of records in the file whose tokens are estimates."""
        return sum(record.estimated for record in self._file.records)

    def close(self) -> None:
        """Close connection and file. Nothing is lost if this is not called."""
        self.client.close()
        self._file.close()

    def decided(self, key: str) -> Record | None:
        """The record that decides a question: kept, refused, or the last unusable answer."""
        return self._decided.get(key)

    def ask_all(self, questions: Sequence[Question], progress: Progress | None = None) -> None:
        """Ask every undecided question. Returns when all are decided, or when `budget.stopped_by` names a limit.

        Raises UserError if the endpoint cannot be used, or if too many questions in a row have failed. Answers received
        until then are in the file.
        """
        by_key = {q.key: q for q in questions if q.key not in self._decided}
        # Questions that were refused before come last, because new ones have a better chance.
        still_open = sorted(by_key.values(), key=lambda q: q.key in self._refused_before)
        self._patience.has_answered |= any(q.key in self._answered for q in questions)
        self._stop.clear()
        self._todo, self._done, self._kept = iter(still_open), 0, 0
        self._report = progress(len(still_open)) if progress and still_open else None
        with ThreadPoolExecutor(self.config.concurrency) as pool:
            workers = [pool.submit(self._work) for _ in range(min(self.config.concurrency, len(still_open)))]
            try:
                for each in workers:
                    each.result()
            except KeyboardInterrupt:  # requests in flight are dropped, and counted as lost
                self._stop.set()
                self.client.abort()
                raise
            finally:
                self._stop.set()

    def _work(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                question = next(self._todo, None)
            if question is None:
                return
            try:
                self._settle(question)
            except _Stopped:
                return
            except BaseException:
                self._stop.set()  # immediately, or the other workers continue to spend money
                raise
            with self._lock:
                self._done += 1
                record = self._decided.get(question.key)
                self._kept += record is not None and record.outcome == "kept"
                if self._report:
                    self._report(self._done, f"{self._kept} usable, cost {self.budget.spent.cost:.2f}")

    def _settle(self, question: Question) -> None:
        """Ask until an answer is usable or no attempts are left. Every answer becomes a record."""
        reason = ""
        while question.key not in self._decided:
            try:
                answer, usage, estimated = self._ask(question, question.messages(reason))
            except Refused as error:
                reason = f"refused: {error}"
                self._record(question, "refused", "", reason, Usage(), False)
                return self._give_up(self._patience.refused(question.key in self._refused_before), reason)
            except TryAgain as error:
                with self._lock:
                    self.unanswered[question.key] = error.reason
                return self._give_up(self._patience.unanswered(), error.reason)
            text = clean_answer(answer.text)
            reason = question.why_unusable(text, answer.finished) or ""
            self._record(question, "wrong" if reason else "kept", text, reason, usage, estimated)
            self._patience.answered()
        if self._decided[question.key].outcome == "kept":
            return self._patience.kept()
        return self._give_up(self._patience.unusable(), reason)

    def _give_up(self, why: str | None, reason: str) -> None:
        if why:
            raise UserError(
                f"base_url {self.client.shown_url}: {why}, the last: {reason}; the answers so far are in {self.path}, "
                "run again to continue"
            )

    def _ask(self, question: Question, messages: list[Message]) -> tuple[Answer, Usage, bool]:
        """An answer, its usage, and whether the usage is an estimate. Raises TryAgain if all retries failed."""
        config = self.config
        size = sum(len(m["content"].encode("utf-8", "replace")) for m in messages)
        # A text never has more tokens than bytes.
        most = config.usage(size + _TURN_TOKENS * len(messages), config.max_tokens)
        for retry in range(config.retries + 1):
            if self._stop.is_set() or not self.budget.reserve(most):
                raise _Stopped
            spent = Usage()
            try:
                answer = self.client.ask(messages)
                tokens_in, tokens_out = answer.tokens_in, answer.tokens_out
                spent = config.usage(
                    size // BYTES_A_TOKEN if tokens_in is None else tokens_in,
                    len(answer.text.encode()) // BYTES_A_TOKEN if tokens_out is None else tokens_out,
                )
                return answer, spent, tokens_in is None or tokens_out is None
            except TryAgain as error:
                if error.lost:
                    spent = most
                    self._record(question, "lost", "", error.reason, most, True)
                if retry == config.retries or (error.wait_seconds or 0) > config.max_wait_seconds:
                    if error.unreachable:
                        raise UserError(
                            f"base_url {self.client.shown_url}: {error.reason}; is the endpoint running?"
                        ) from error
                    raise
                pause = pause_seconds(config, retry, error.wait_seconds)
            finally:
                self.budget.settle(most, spent)
            self._sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _record(self, question: Question, outcome: str, text: str, reason: str, usage: Usage, estimated: bool) -> None:
        record = Record(
            question.pair_id, question.key, outcome, text, reason, usage.tokens_in, usage.tokens_out, usage.cost,
            estimated, self.config.max_tokens,
        )  # fmt: skip
        with self._lock:
            self.unanswered.pop(question.key, None)
            self._file.append(record)
            self._remember(record)

    def _remember(self, record: Record) -> None:
        self._tried[record.key] += record.outcome == "wrong" and record.max_tokens >= self.config.max_tokens
        exhausted = record.outcome == "wrong" and self._tried[record.key] >= self.config.attempts
        if record.outcome in ("kept", "refused") or exhausted:
            self._decided[record.key] = record
