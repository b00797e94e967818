"""A model's judgements of labelled pairs, with verdicts on their steps: the input of the metrics."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.evaluate.prediction import Prediction
from taosr_she.examine.verdicts import Examiner
from taosr_she.judge.decision import WRITTEN, Decision
from taosr_she.judge.judgement import Judgement
from taosr_she.judge.mode import Mode
from taosr_she.judge.pairs import greedy, in_parts, judge_in_parts, judge_pairs, part_size
from taosr_she.model.policy import Policy

WARM = 2
"""Pairs judged before the clock starts."""


class Predicted(NamedTuple):
    """Predictions in the order of the pairs, and how fast they were made."""

    predictions: list[Prediction]
    tokens_per_second: float  # generated; 0 in mode `label`
    pairs_per_second: float  # from prompt to judgement, not counting the first few, in which the model is checked


def predict(
    policy: Policy,
    domain: Domain,
    pairs: Sequence[Pair],
    examiner: Examiner,
    max_new_tokens: int,
    batch_rows: int,
    mode: Mode = "reason",
    chains: int = 1,
) -> Predicted:
    """Predictions for all pairs in order: with a greedy response each, with several chains, or in mode `label`."""
    judge_pairs(policy, domain, pairs[:WARM], greedy(1), WARM, mode=mode)
    started = time.perf_counter()
    way = Decision(chains=chains)
    judgements, seconds = judge_pairs(policy, domain, pairs, greedy(max_new_tokens), batch_rows, 0, way, mode)
    pairs_per_second = len(pairs) / (time.perf_counter() - started)
    tokens = sum(judged.tokens for judged in judgements)
    return Predicted(_examined(domain, pairs, judgements, examiner, mode), tokens / seconds, pairs_per_second)


def aligned(domain: Domain, own: Domain, predictions: Sequence[Prediction]) -> list[Prediction]:
    """Predictions made in the domain `own`, with the steps and verdicts of `domain` in its order: None and NaN where
    `own` has no such step. The labels must be the same."""
    if own.step_keys == domain.step_keys:
        return list(predictions)
    place = [own.step_keys.index(key) if key in own.step_keys else None for key in domain.step_keys]
    return [
        replace(
            p,
            steps=tuple(None if k is None else p.steps[k] for k in place),
            verdicts=tuple(math.nan if k is None else p.verdicts[k] for k in place),
        )
        for p in predictions
    ]


def predict_in_parts(
    policy: Policy,
    domain: Domain,
    pairs: Sequence[Pair],
    examiner: Examiner,
    max_new_tokens: int,
    decision: Decision = WRITTEN,
    mode: Mode = "reason",
) -> Iterator[list[Prediction]]:
    """Predictions for all pairs in order, part by part (`judge_in_parts`)."""
    parts = in_parts(pairs, part_size(policy))
    judged = judge_in_parts(policy, domain, pairs, greedy(max_new_tokens), decision=decision, mode=mode)
    for part, judgements in zip(parts, judged, strict=True):
        yield _examined(domain, part, judgements, examiner, mode)


def _examined(
    domain: Domain, pairs: Sequence[Pair], judgements: Sequence[Judgement], examiner: Examiner, mode: Mode
) -> list[Prediction]:
    """In mode `label`, steps that were not asked for have no verdict; an examiner would call a missing step wrong."""
    predictions = examined(pairs, judgements, examiner)
    if mode == "reason":
        return predictions
    asked = [key == domain.step_keys[domain.label_step] for key in domain.step_keys]
    return [
        replace(p, verdicts=tuple(v if label else math.nan for v, label in zip(p.verdicts, asked, strict=True)))
        for p in predictions
    ]


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
