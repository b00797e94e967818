"""A model's judgements of labelled pairs, with verdicts on their steps: the input of the metrics."""

from collections.abc import Iterator, Sequence

from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.evaluate.prediction import Prediction
from taosr_she.examine.verdicts import Examiner
from taosr_she.judge.decision import WRITTEN, Decision
from taosr_she.judge.judgement import Judgement
from taosr_she.judge.pairs import greedy, in_parts, judge_in_parts, judge_pairs, part_size
from taosr_she.model.policy import Policy


def predict(
    policy: Policy, domain: Domain, pairs: Sequence[Pair], examiner: Examiner, max_new_tokens: int, batch_rows: int
) -> tuple[list[Prediction], float]:
    """Predictions for all pairs in order, and the generated tokens per second."""
    judgements, seconds = judge_pairs(policy, domain, pairs, greedy(max_new_tokens), batch_rows)
    return examined(pairs, judgements, examiner), sum(judged.tokens for judged in judgements) / seconds


def predict_in_parts(
    policy: Policy,
    domain: Domain,
    pairs: Sequence[Pair],
    examiner: Examiner,
    max_new_tokens: int,
    decision: Decision = WRITTEN,
) -> Iterator[list[Prediction]]:
    """Predictions for all pairs in order, part by part (`judge_in_parts`)."""
    parts = in_parts(pairs, part_size(policy))
    judged = judge_in_parts(policy, domain, pairs, greedy(max_new_tokens), decision=decision)
    for part, judgements in zip(parts, judged, strict=True):
        yield examined(part, judgements, examiner)


def examined(pairs: Sequence[Pair], judgements: Sequence[Judgement], examiner: Examiner) -> list[Prediction]:
    """Judgements combined with the human labels and the examiner's verdicts on the steps."""
    verdicts = examiner.examine(pairs, [judged.parsed for judged in judgements]).values
    return [
        Prediction(
            pair_id=pair.pair_id, query_id=pair.query_id, label=pair.label, predicted=judged.label,
            probs=None if judged.probabilities is None else tuple(judged.probabilities.values()),
            response=judged.response, reason=judged.reason, steps=tuple(judged.steps.values()),
            verdicts=tuple(row.tolist()), tags=pair.tags, tokens=judged.tokens,
        )
        for pair, judged, row in zip(pairs, judgements, verdicts, strict=True)
    ]  # fmt: skip
