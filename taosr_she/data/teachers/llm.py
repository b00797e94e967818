"""The LLM teacher: a language model writes the steps that lead to the human label. Other answers are not kept.

The model is given the pair, the rules, the format and the right grade, and asked for the reasoning (rationalisation, as
in STaR, arXiv 2203.14465). An answer is kept if it is well formed and ends in the human label. Nothing checks its
steps: a rationale can reach the right grade for a wrong reason.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from taosr_she.base.errors import UserError
from taosr_she.data.demonstration import Demonstration
from taosr_she.data.fingerprint import fingerprint_config
from taosr_she.data.teachers.llm_config import LLMTeacherConfig
from taosr_she.data.teachers.llm_prompt import teacher_messages, why_unusable
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.endpoint.asker import Asker, Progress, Question


@dataclass(frozen=True)
class LLMTeacherSummary:
    """The result of a run. Usage covers all records of the file: also earlier runs and rejected or lost requests."""

    demonstrations: tuple[Demonstration, ...]
    """Demonstrations of the given pairs, in their order, including those of earlier runs."""
    rejected: dict[str, int]
    """Pairs without a usable attempt, including those of earlier runs, by the reason of the last attempt; also the
    pairs that the endpoint refused in this run."""
    skipped: int
    """Pairs that were decided (kept or rejected for good) before this run."""
    unanswered: dict[str, int]
    """Pairs without an answer despite all retries, by reason; a later run asks again."""
    left: int
    """Undecided pairs: unanswered, or not asked because of the limit."""
    tokens_in: int
    tokens_out: int
    cost: float
    """In the currency of the prices, at the prices of the time."""
    estimated: int
    """Requests whose tokens are estimates: the answer had no usage, or never came (then the maximum is counted)."""
    stopped_by_limit: str | None
    """`spend_limit` or `token_limit` if one of them ended the run."""
    adapted: tuple[str, ...]
    """Changes to the requests that the endpoint made necessary, compared with the settings."""

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
    progress: Progress | None = None,
) -> LLMTeacherSummary:
    """Ask for a demonstration of every labelled pair. `path` is the JSONL file of all answers, used to resume a run.

    Pairs decided in the file are not asked again, but refused ones are. The limits are exact if the endpoint reports
    usage and respects `max_tokens`. Requests in flight when a process is killed are not in the file (at most
    `concurrency` of them). `sleep` replaces waiting in tests.

    Raises UserError for a missing label or key, for an endpoint that cannot be reached or does not accept key or model,
    and after too many pairs in a row without an answer or without a usable one. Answers received until then are in the
    file.

    >>> config = LLMTeacherConfig(base_url="http://localhost:8000/v1", model="qwen3")
    >>> llm_demonstrations(config, load_domain("esci"), pairs, Path("answers.jsonl")).kept  # doctest: +SKIP
    """
    for pair in pairs:
        if pair.label not in domain.codes:
            raise UserError(
                f"pair '{pair.pair_id}' has the label {pair.label!r}, but the LLM teacher needs one of "
                f"{', '.join(domain.codes)}; label the pair or leave it out"
            )
    asker = Asker(config, path, sleep)
    try:
        questions = [_question(config, domain, pair) for pair in pairs]
        skipped = sum(asker.decided(q.key) is not None for q in questions)
        asker.ask_all(questions, progress)
        return _summary(config, asker, questions, skipped)
    finally:
        asker.close()


def _question(config: LLMTeacherConfig, domain: Domain, pair: Pair) -> Question:
    return Question(
        fingerprint_config([config.model, teacher_messages(domain, pair)]),
        pair.pair_id,
        lambda reason: teacher_messages(domain, pair, reason),
        lambda response, finished: why_unusable(domain, pair, response, finished),
    )


def _summary(config: LLMTeacherConfig, asker: Asker, questions: list[Question], skipped: int) -> LLMTeacherSummary:
    """The current result for the given pairs."""
    final = [(q.pair_id, record) for q in questions if (record := asker.decided(q.key))]
    spent = asker.budget.spent
    return LLMTeacherSummary(
        demonstrations=tuple(
            Demonstration(pair_id, record.response, f"llm:{config.model}")
            for pair_id, record in final
            if record.outcome == "kept"
        ),
        rejected=dict(Counter(record.reason for _, record in final if record.outcome != "kept").most_common()),
        skipped=skipped,
        unanswered=dict(Counter(asker.unanswered.values()).most_common()),
        left=len(questions) - len(final),
        tokens_in=spent.tokens_in,
        tokens_out=spent.tokens_out,
        cost=spent.cost,
        estimated=asker.estimated,
        stopped_by_limit=asker.budget.stopped_by,
        adapted=tuple(asker.client.adapted),
    )
