"""The LLM teacher: a language model writes the steps that lead to the human label; what does not get there is not kept.

The model is told pair, rules, format and the right grade, and asked for the reasoning (rationalisation, as in STaR,
arXiv 2203.14465). An answer is kept when it is well formed and ends in the human label. Nothing checks its steps: a
rationale may reach the right grade for a wrong reason.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock

from taosr_she.data.demonstration import Demonstration
from taosr_she.data.fingerprint import fingerprint_config
from taosr_she.data.teachers.llm_budget import Budget, Usage
from taosr_she.data.teachers.llm_client import Answer, ChatClient, Refused, TryAgain
from taosr_she.data.teachers.llm_config import LLMTeacherConfig
from taosr_she.data.teachers.llm_prompt import Message, clean_answer, teacher_messages, why_unusable
from taosr_she.data.teachers.llm_records import Record, RecordFile
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.errors import UserError

GIVE_UP_AFTER = 5
"""Pairs in a row without any answer, after which the run stops: the endpoint is down or the settings are wrong."""
BYTES_A_TOKEN = 4
"""For estimates where an answer comes without usage."""
_TURN_TOKENS = 16  # what a chat template adds to a message, with room to spare


@dataclass(frozen=True)
class LLMTeacherSummary:
    """What came of a run. Usage counts all records of the file: earlier runs, rejected and lost requests included."""

    demonstrations: tuple[Demonstration, ...]
    """Of the given pairs, in their order, those of earlier runs included."""
    rejected: dict[str, int]
    """Pairs for which no attempt was good, by the reason of the last one; those of earlier runs included."""
    skipped: int
    """Pairs that were decided (kept or rejected) before this run."""
    unanswered: dict[str, int]
    """Pairs without an answer in spite of all retries, by reason; a later run asks again."""
    left: int
    """Pairs not decided: unanswered, or not asked because of the limit."""
    tokens_in: int
    tokens_out: int
    cost: float
    """In the currency of the prices, at the prices of the time."""
    estimated: int
    """Requests whose tokens were estimated: the answer had no usage, or never came (then counted at the most)."""
    stopped_by_limit: str | None
    """`spend_limit` or `token_limit` when one ended the run."""

    @property
    def kept(self) -> int:
        """Number of demonstrations."""
        return len(self.demonstrations)


def llm_demonstrations(
    config: LLMTeacherConfig,
    domain: Domain,
    pairs: Sequence[Pair],
    path: Path,
    sleep: Callable[[float], object] | None = None,
) -> LLMTeacherSummary:
    """Ask for a demonstration of every labelled pair; `path` is the JSONL file of all answers, and resumes the run.

    Pairs decided in the file are not asked again. The limits hold exactly where the endpoint reports usage and heeds
    `max_tokens`; requests in flight when a process is killed are not in the file (at most `concurrency` of them).
    `sleep` replaces waiting in tests.

    Raises UserError for a missing label or key, an endpoint that cannot be reached or does not accept key or model, and
    after `GIVE_UP_AFTER` pairs in a row without an answer. What was answered until then is in the file.

    >>> config = LLMTeacherConfig(base_url="http://localhost:8000/v1", model="qwen3", api_key_env="")
    >>> llm_demonstrations(config, load_domain("esci"), pairs, Path("answers.jsonl")).kept  # doctest: +SKIP
    """
    for pair in pairs:
        if pair.label not in domain.codes:
            raise UserError(
                f"pair '{pair.pair_id}' has the label {pair.label!r}, but the LLM teacher needs one of "
                f"{', '.join(domain.codes)}; label the pair or leave it out"
            )
    client = ChatClient(config.base_url, config.model, config.api_key_env, config.timeout_seconds, config.concurrency)
    try:
        file = RecordFile(path)
        try:
            run = _Run(config, domain, pairs, client, file, sleep)
            run.work()
            return run.summary()
        finally:
            file.close()
    finally:
        client.close()


class _Stopped(Exception):
    """This worker ends: a limit is reached, or another worker has failed."""


class _Run:
    """One run over the pairs that are not decided yet."""

    def __init__(
        self,
        config: LLMTeacherConfig,
        domain: Domain,
        pairs: Sequence[Pair],
        client: ChatClient,
        file: RecordFile,
        sleep: Callable[[float], object] | None,
    ) -> None:
        self.config = config
        self.domain = domain
        self.client = client
        self.file = file
        self.keys = [fingerprint_config([config.model, teacher_messages(domain, pair)]) for pair in pairs]
        self.pairs = pairs
        self.budget = Budget(sum((r.usage for r in file.records), Usage()), config.spend_limit, config.token_limit)
        self.unanswered: Counter[str] = Counter()
        self.stop = Event()
        self.sleep = sleep or self.stop.wait  # a worker that waits hears at once when the run ends
        self._lock = Lock()
        self._answered = any(r.outcome in ("kept", "wrong") for r in file.records)
        self._in_a_row = 0
        decided = self._decided()
        self.skipped = sum(key in decided for key in self.keys)
        # By key: a pair given twice is asked once.
        self._todo = iter({k: pair for k, pair in zip(self.keys, pairs, strict=True) if k not in decided}.items())
        self._tried = Counter(r.key for r in file.records if r.outcome == "wrong")

    def work(self) -> None:
        """Ask for every pair that is not decided; returns when all are, or a limit is reached."""
        with ThreadPoolExecutor(self.config.concurrency) as pool:
            workers = [pool.submit(self._worker) for _ in range(self.config.concurrency)]
            try:
                for each in workers:
                    each.result()
            finally:  # also when interrupted from the keyboard
                self.stop.set()

    def _worker(self) -> None:
        while not self.stop.is_set():
            with self._lock:
                task = next(self._todo, None)
            if task is None:
                return
            try:
                self._teach(*task)
            except _Stopped:
                return
            except BaseException:
                self.stop.set()
                raise

    def summary(self) -> LLMTeacherSummary:
        """What the file says now about the given pairs."""
        decided = self._decided()
        final = [(pair, decided[key]) for key, pair in zip(self.keys, self.pairs, strict=True) if key in decided]
        teacher = f"llm:{self.config.model}"
        spent = self.budget.spent
        return LLMTeacherSummary(
            demonstrations=tuple(
                Demonstration(pair.pair_id, record.response, teacher)
                for pair, record in final
                if record.outcome == "kept"
            ),
            rejected=dict(Counter(record.reason for _, record in final if record.outcome != "kept").most_common()),
            skipped=self.skipped,
            unanswered=dict(self.unanswered.most_common()),
            left=len(self.pairs) - len(final),
            tokens_in=spent.tokens_in,
            tokens_out=spent.tokens_out,
            cost=spent.cost,
            estimated=sum(record.estimated for record in self.file.records),
            stopped_by_limit=self.budget.stopped_by,
        )

    def _decided(self) -> dict[str, Record]:
        """The record that decides a pair, by key: kept, refused, or the last of all attempts."""
        found: dict[str, Record] = {}
        tried: Counter[str] = Counter()
        for record in self.file.records:
            tried[record.key] += record.outcome == "wrong"
            exhausted = record.outcome == "wrong" and tried[record.key] >= self.config.attempts
            if record.outcome == "kept" or record.outcome == "refused" or exhausted:
                found[record.key] = record
        return found

    def _teach(self, key: str, pair: Pair) -> None:
        """Ask until an answer can be used or the attempts are spent; every answer becomes a record."""
        reason = ""
        for _ in range(self._tried[key], self.config.attempts):
            messages = teacher_messages(self.domain, pair, reason)
            try:
                answer, usage, estimated = self._ask(key, pair, messages)
            except Refused as error:
                if not self._answered:  # perhaps every request is refused: the settings, not the pair
                    return self._no_answer(f"refused: {error}")
                return self._record(key, pair, "refused", "", f"refused: {error}", Usage(), False)
            except TryAgain as error:
                return self._no_answer(error.reason)
            with self._lock:
                self._answered, self._in_a_row = True, 0
            response = clean_answer(answer.text)
            reason = why_unusable(self.domain, pair, response, answer.finished) or ""
            self._record(key, pair, "wrong" if reason else "kept", response, reason, usage, estimated)
            if not reason:
                return None
        return None

    def _ask(self, key: str, pair: Pair, messages: list[Message]) -> tuple[Answer, Usage, bool]:
        """An answer with its usage and whether that is an estimate. Raises TryAgain when all retries failed."""
        config = self.config
        size = sum(len(m["content"].encode()) for m in messages)
        # No tokenizer makes more tokens than bytes.
        most = config.usage(size + _TURN_TOKENS * len(messages), config.max_tokens)
        for retry in range(config.retries + 1):
            if self.stop.is_set() or not self.budget.reserve(most):
                raise _Stopped
            spent = Usage()
            try:
                answer = self.client.ask(messages, config.temperature, config.max_tokens)
                estimated = answer.tokens_in is None or answer.tokens_out is None
                told_in, told_out = answer.tokens_in, answer.tokens_out
                spent = config.usage(
                    size // BYTES_A_TOKEN if told_in is None else told_in,
                    len(answer.text.encode()) // BYTES_A_TOKEN if told_out is None else told_out,
                )
                return answer, spent, estimated
            except TryAgain as error:
                if error.lost:
                    spent = most
                    self._record(key, pair, "lost", "", error.reason, most, True)
                wait = self._wait(retry, error)
                if retry == config.retries or (error.wait_seconds or 0) > config.max_wait_seconds:
                    if error.unreachable:
                        raise UserError(
                            f"base_url {config.base_url}: {error.reason}; is the endpoint running?"
                        ) from error
                    raise
            finally:
                self.budget.settle(most, spent)
            self.sleep(wait)
        raise AssertionError("the last try returns or raises")

    def _wait(self, retry: int, error: TryAgain) -> float:
        """Seconds until the next try. The jitter keeps the workers from coming back all at once."""
        first = self.config.backoff_seconds
        if error.wait_seconds is not None:
            return error.wait_seconds + random.uniform(0, first)
        return min(first * 2**retry * random.uniform(0.5, 1.5), self.config.max_wait_seconds)

    def _no_answer(self, reason: str) -> None:
        with self._lock:
            self.unanswered[reason] += 1
            self._in_a_row += 1
            if self._in_a_row >= GIVE_UP_AFTER:
                raise UserError(
                    f"base_url {self.config.base_url}: {GIVE_UP_AFTER} pairs in a row without an answer, the last: "
                    f"{reason}; what was answered is in {self.file.path}, run again to go on"
                )

    def _record(
        self, key: str, pair: Pair, outcome: str, response: str, reason: str, usage: Usage, estimated: bool
    ) -> None:
        self.file.append(
            Record(
                pair.pair_id, key, outcome, response, reason, usage.tokens_in, usage.tokens_out, usage.cost, estimated
            )
        )
