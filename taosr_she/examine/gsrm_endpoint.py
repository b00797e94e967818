"""The judge behind an OpenAI-compatible endpoint: usable without training, at a price.

What it reads and answers is in `gsrm_chat`. Endpoints seldom tell probabilities, so a verdict is 0 or 1,
or with several votes their share. Every answer is kept on disk, one JSON object a line, and is never paid for twice; a
killed or stopped run goes on where it was.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock

import numpy as np
from pydantic import Field, model_validator

from taosr_she.data.fingerprint import fingerprint_config
from taosr_she.data.teachers.llm_budget import Budget, Usage
from taosr_she.data.teachers.llm_client import Answer, ChatClient, Refused, TryAgain
from taosr_she.data.teachers.llm_config import LLMTeacherConfig
from taosr_she.data.teachers.llm_prompt import CHAT_TOKENS, Message, clean_answer
from taosr_she.data.teachers.llm_records import Record, RecordFile
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import Response
from taosr_she.errors import UserError
from taosr_she.examine.gsrm_chat import judge_messages, read_judgement
from taosr_she.examine.gsrm_prompt import Shown, shown_steps
from taosr_she.examine.verdicts import CODE, Critiques, Examination, Verdicts

GIVE_UP_AFTER = 5
"""Responses in a row without any answer, after which the run stops: the endpoint is down or the settings are wrong."""
BYTES_A_TOKEN = 4
"""For estimates where an answer comes without usage."""
_TURN_TOKENS = 16  # what a chat template adds to a message, with room to spare


class EndpointJudgeConfig(LLMTeacherConfig):
    """An OpenAI-compatible endpoint, and how it is asked to judge."""

    temperature: float = Field(default=0.0, ge=0, le=2)
    """Sampling temperature; above 0 when there are several votes."""
    votes: int = Field(default=1, ge=1)
    """Answers asked for each response; the verdict is the share that says `correct`."""
    max_step_chars: int = Field(default=600, gt=0)
    """Longer step texts are cut before the judge reads them."""

    @model_validator(mode="after")
    def _check_votes(self) -> "EndpointJudgeConfig":
        if self.votes > 1 and self.temperature == 0:
            raise ValueError("votes above 1 need a temperature above 0, or all votes are the same")
        return self


@dataclass(frozen=True)
class _Task:
    key: str  # fingerprint of model, settings, messages and vote
    pair: Pair
    shown: Shown
    asked: tuple[int, ...]


class _Stopped(Exception):
    """This worker ends because another one has failed."""


class EndpointJudge:
    """An `Examiner` that asks an endpoint. Steps without an answer in spite of all attempts are unknown.

    >>> config = EndpointJudgeConfig(base_url="http://localhost:8000/v1", model="qwen3", api_key_env="")
    >>> judge = EndpointJudge(config, domain, Path("judgements.jsonl"))   # doctest: +SKIP
    >>> judge.examine([pair], [parse_response(domain, text)]).values      # doctest: +SKIP
    """

    def __init__(
        self, config: EndpointJudgeConfig, domain: Domain, path: Path, sleep: Callable[[float], object] | None = None
    ) -> None:
        """`path` is the file of all answers. `sleep` replaces waiting in tests. Raises UserError for a missing key."""
        self.config, self.domain = config, domain
        self._client = ChatClient(
            config.base_url, config.model, config.api_key_env, config.timeout_seconds, config.concurrency
        )
        self._file = RecordFile(path)
        self._budget = Budget(
            sum((r.usage for r in self._file.records), Usage()), config.spend_limit, config.token_limit
        )
        self._decided: dict[str, Record] = {}
        self._tried: Counter[str] = Counter()
        for record in self._file.records:
            self._remember(record)
        self._stop = Event()
        self._sleep = sleep or self._stop.wait
        self._lock = Lock()
        self._in_a_row = 0

    @property
    def spent(self) -> Usage:
        """Tokens and cost of all records of the file."""
        return self._budget.spent

    def close(self) -> None:
        """Close connection and file; nothing is lost if it is not called."""
        self._client.close()
        self._file.close()

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        """Verdicts (B, K) for B responses, one pair entry each.

        Raises UserError when the endpoint cannot be used, or a limit is reached; answers until then are in the file.
        """
        return self.examine_with_critiques(pairs, responses).verdicts

    def examine_with_critiques(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Examination:
        """The same, with the critique of the first vote."""
        votes = [self._votes(pair, response) for pair, response in zip(pairs, responses, strict=True)]
        self._ask_all({t.key: t for tasks in votes for t in tasks if t.asked and t.key not in self._decided})
        shape = (len(votes), len(self.domain.steps))
        values = np.zeros(shape, dtype=np.float32)
        sources = np.full(shape, CODE["judge"], dtype=np.int8)
        critiques: list[Critiques] = []
        for b, tasks in enumerate(votes):
            answers = [answer for t in tasks if (answer := self._answer(t))]
            asked = list(tasks[0].asked)
            own: list[str | None] = [None] * shape[1]
            if answers:
                for k in asked:
                    values[b, k] = np.mean([answer[k][0] for answer in answers])
                    own[k] = answers[0][k][1]
            else:
                values[b, asked], sources[b, asked] = np.nan, CODE["unknown"]
            critiques.append(tuple(own))
        return Examination(Verdicts(values, sources), tuple(critiques))

    def _votes(self, pair: Pair, response: Response) -> list[_Task]:
        shown = shown_steps(self.domain, response, self.config.max_step_chars, CHAT_TOKENS)
        asked = tuple(k for k, text in enumerate(shown) if text is not None)
        messages = judge_messages(self.domain, pair, shown)
        told = [self.config.model, self.config.temperature, messages, asked]
        return [_Task(fingerprint_config([*told, vote]), pair, shown, asked) for vote in range(self.config.votes)]

    def _answer(self, task: _Task) -> dict[int, tuple[float, str]]:
        record = self._decided.get(task.key)
        if record is None or record.outcome != "kept":
            return {}
        return read_judgement(self.domain, record.response, task.asked)[0]

    def _ask_all(self, tasks: dict[str, _Task]) -> None:
        self._stop.clear()
        with ThreadPoolExecutor(self.config.concurrency) as pool:
            running = [pool.submit(self._work, task) for task in tasks.values()]
            try:
                wait(running, return_when=FIRST_EXCEPTION)
            finally:  # after a failure, or an interrupt from the keyboard, what is queued ends at once
                self._stop.set()
                for each in running:
                    each.cancel()
        errors = [e for each in running if not each.cancelled() and (e := each.exception())]
        for error in errors:
            if not isinstance(error, _Stopped):
                raise error

    def _work(self, task: _Task) -> None:
        try:
            self._judge(task)
        except BaseException:
            self._stop.set()  # at once, or the other workers go on paying
            raise

    def _judge(self, task: _Task) -> None:
        """Ask until an answer can be used or the attempts are spent."""
        reason = ""
        while task.key not in self._decided:
            messages = judge_messages(self.domain, task.pair, task.shown, reason)
            try:
                answer, usage, estimated = self._ask(task, messages)
            except Refused as error:
                self._record(task, "refused", "", f"refused: {error}", Usage(), False)
                self._no_answer(f"refused: {error}")
                return
            except TryAgain as error:
                self._no_answer(error.reason)
                return
            text = clean_answer(answer.text)
            reason = read_judgement(self.domain, text, task.asked)[1] or ""
            self._record(task, "wrong" if reason else "kept", text, reason, usage, estimated)
            with self._lock:
                self._in_a_row = 0

    def _ask(self, task: _Task, messages: list[Message]) -> tuple[Answer, Usage, bool]:
        """An answer with its usage and whether that is an estimate. Raises TryAgain when all retries failed."""
        config = self.config
        size = sum(len(m["content"].encode()) for m in messages)
        # No tokenizer makes more tokens than bytes.
        most = config.usage(size + _TURN_TOKENS * len(messages), config.max_tokens)
        retry = 0
        while True:
            if self._stop.is_set():
                raise _Stopped
            if not self._budget.reserve(most):
                raise UserError(
                    f"the judge at {config.base_url} has reached its {self._budget.stopped_by}: raise it to go on; "
                    f"what was answered is in {self._file.path}"
                )
            spent = Usage()
            try:
                answer = self._client.ask(messages, config.temperature, config.max_tokens)
                tokens_in, tokens_out = answer.tokens_in, answer.tokens_out
                estimated = tokens_in is None or tokens_out is None
                spent = config.usage(
                    size // BYTES_A_TOKEN if tokens_in is None else tokens_in,
                    len(answer.text.encode()) // BYTES_A_TOKEN if tokens_out is None else tokens_out,
                )
                return answer, spent, estimated
            except TryAgain as error:
                if error.lost:
                    spent = most
                    self._record(task, "lost", "", error.reason, most, True)
                if retry == config.retries or (error.wait_seconds or 0) > config.max_wait_seconds:
                    raise
                pause = error.wait_seconds
            finally:
                self._budget.settle(most, spent)
            backoff = min(config.backoff_seconds * 2**retry * random.uniform(0.5, 1.5), config.max_wait_seconds)
            self._sleep(backoff if pause is None else pause)
            retry += 1

    def _no_answer(self, reason: str) -> None:
        with self._lock:
            self._in_a_row += 1
            if self._in_a_row >= GIVE_UP_AFTER:
                raise UserError(
                    f"base_url {self.config.base_url}: {GIVE_UP_AFTER} responses in a row without an answer, the last: "
                    f"{reason}; what was answered is in {self._file.path}, run again to go on"
                )

    def _record(self, task: _Task, outcome: str, text: str, reason: str, usage: Usage, estimated: bool) -> None:
        record = Record(
            task.pair.pair_id, task.key, outcome, text, reason, usage.tokens_in, usage.tokens_out, usage.cost, estimated
        )
        self._file.append(record)
        self._remember(record)

    def _remember(self, record: Record) -> None:
        """A record decides its key when it was kept or refused, or is the last of all attempts."""
        self._tried[record.key] += record.outcome == "wrong"
        exhausted = record.outcome == "wrong" and self._tried[record.key] >= self.config.attempts
        if record.outcome in ("kept", "refused") or exhausted:
            self._decided[record.key] = record
