"""The GSRM behind an OpenAI-compatible endpoint: usable without training, but every answer has a cost.

`gsrm_chat` has its prompt and the parser of its answers. Endpoints rarely return probabilities, so a verdict is 0 or 1,
or with several votes their mean. Every answer is saved to disk, one JSON object per line, and never paid for twice; a
killed or stopped run continues where it was.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field, model_validator

from taosr_she.base.errors import UserError
from taosr_she.data.fingerprint import fingerprint_config
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import Response
from taosr_she.endpoint.asker import Asker, Progress, Question
from taosr_she.endpoint.budget import Usage
from taosr_she.endpoint.chat import CHAT_TOKENS
from taosr_she.endpoint.settings import EndpointConfig
from taosr_she.examine.gsrm_chat import gsrm_messages, read_verdicts
from taosr_she.examine.gsrm_prompt import shown_steps
from taosr_she.examine.verdicts import CODE, Critiques, Examination, Verdicts


class EndpointGSRMConfig(EndpointConfig):
    """An OpenAI-compatible endpoint, and the options of its examination."""

    temperature: float | None = Field(default=0.0, ge=0, le=2)
    """Sampling temperature; above 0 when there are several votes. Null: none is sent, the model has its own."""
    votes: int = Field(default=1, ge=1)
    """Number of answers for each response; the verdict is the share of `correct`."""
    max_step_chars: int = Field(default=600, gt=0)
    """Longer step texts are cut before the GSRM reads them."""

    @model_validator(mode="after")
    def _check_votes(self) -> "EndpointGSRMConfig":
        if self.votes > 1 and self.temperature == 0:
            raise ValueError("votes above 1 need a temperature above 0, or all votes are the same")
        return self


@dataclass(frozen=True)
class _Vote:
    question: Question
    asked: tuple[int, ...]  # the steps that have a text; the others are wrong without asking


class EndpointGSRM:
    """An `Examiner` that asks an endpoint. Steps that remain without an answer after all attempts are unknown.

    >>> config = EndpointGSRMConfig(base_url="http://localhost:8000/v1", model="qwen3")
    >>> gsrm = EndpointGSRM(config, domain, Path("answers.jsonl"))   # doctest: +SKIP
    >>> gsrm.examine([pair], [parse_response(domain, text)]).values      # doctest: +SKIP
    """

    def __init__(
        self, config: EndpointGSRMConfig, domain: Domain, path: Path, sleep: Callable[[float], object] | None = None
    ) -> None:
        """`path` is the file of all answers. `sleep` replaces waiting in tests. Raises UserError for a missing key."""
        self.config, self.domain = config, domain
        self.progress: Progress | None = None
        """Receives the progress of the questions of a call."""
        self._asker = Asker(config, path, sleep)
        self._keys: set[str] = set()  # of all questions asked of this object

    @property
    def spent(self) -> Usage:
        """Tokens and cost of all records of the file."""
        return self._asker.budget.spent

    def close(self) -> None:
        """Close connection and file; nothing is lost if it is not called."""
        self._asker.close()

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        """Verdicts (B, K) for B responses, one pair entry each.

        Raises UserError when the endpoint cannot be used, or a limit is reached; answers until then are in the file.
        """
        return self.examine_with_critiques(pairs, responses).verdicts

    def examine_with_critiques(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Examination:
        """The same, with the critique of the first vote."""
        votes = [self._votes(pair, response) for pair, response in zip(pairs, responses, strict=True)]
        self._ask([vote.question for of_one in votes for vote in of_one if vote.asked])
        shape = (len(votes), len(self.domain.steps))
        values = np.zeros(shape, dtype=np.float32)
        sources = np.full(shape, CODE["gsrm"], dtype=np.int8)
        critiques: list[Critiques] = []
        for b, of_one in enumerate(votes):
            answers = [answer for vote in of_one if (answer := self._answer(vote))]
            asked = list(of_one[0].asked)
            own: list[str | None] = [None] * shape[1]
            if answers:
                for k in asked:
                    values[b, k] = np.mean([answer[k][0] for answer in answers])
                    own[k] = answers[0][k][1]
            else:
                values[b, asked], sources[b, asked] = np.nan, CODE["unknown"]
            critiques.append(tuple(own))
        return Examination(Verdicts(values, sources), tuple(critiques))

    def account(self) -> tuple[int, int, str]:
        """(questions, those with a usable answer, in words what became of all) since this object was made."""
        reasons = Counter(self._asker.unanswered.values())
        decided = [record for key in self._keys if (record := self._asker.decided(key))]
        reasons.update(record.reason for record in decided if record.outcome != "kept")
        usable = sum(record.outcome == "kept" for record in decided)
        words = [f"{usable} of {len(self._keys)} questions have a usable answer"]
        words += [f"{count} x {reason}" for reason, count in reasons.most_common(3)]
        words += [f"{self.spent.tokens_in + self.spent.tokens_out} tokens, cost {self.spent.cost:.2f}"]
        return len(self._keys), usable, "; ".join([*words, *self._asker.client.adapted])

    def _ask(self, questions: list[Question]) -> None:
        self._keys.update(q.key for q in questions)
        self._asker.ask_all(questions, self.progress)
        if self._asker.budget.stopped_by:
            raise UserError(
                f"the GSRM at {self._asker.client.shown_url} has reached its {self._asker.budget.stopped_by}: "
                f"raise it to continue; the answers so far are in {self._asker.path}"
            )

    def _votes(self, pair: Pair, response: Response) -> list[_Vote]:
        shown = shown_steps(self.domain, response, self.config.max_step_chars, CHAT_TOKENS)
        asked = tuple(k for k, text in enumerate(shown) if text is not None)
        told = [self.config.model, self.config.temperature, gsrm_messages(self.domain, pair, shown), asked]
        return [
            _Vote(
                Question(
                    fingerprint_config([*told, vote]),
                    pair.pair_id,
                    lambda reason: gsrm_messages(self.domain, pair, shown, reason),
                    lambda text, finished: _why_unusable(self.domain, text, asked, finished),
                ),
                asked,
            )
            for vote in range(self.config.votes)
        ]

    def _answer(self, vote: _Vote) -> dict[int, tuple[float, str]]:
        record = self._asker.decided(vote.question.key)
        if record is None or record.outcome != "kept":
            return {}
        return read_verdicts(self.domain, record.response, vote.asked)[0]


def _why_unusable(domain: Domain, text: str, asked: Sequence[int], finished: bool) -> str | None:
    reason = read_verdicts(domain, text, asked)[1]
    return f"{reason}, cut off at max_tokens" if reason and not finished else reason
