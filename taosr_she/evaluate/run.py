"""A model's answers to pairs: greedy responses, label distributions, and step verdicts against references."""

import time
from collections.abc import Iterator, Sequence

from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import Response, parse_response
from taosr_she.domain.spans import decode_response, token_ends
from taosr_she.evaluate.prediction import Prediction
from taosr_she.examine.verdicts import Examiner
from taosr_she.model.label_probs import label_distribution
from taosr_she.model.policy import Policy
from taosr_she.model.sampler import Sampling, sample_groups

PART_PAIRS = {"cpu": 64, "cuda": 256}
"""Pairs of one part of `predict_in_parts`, all generated at the same time. On a CPU more at a time are no faster."""


def predict(
    policy: Policy, domain: Domain, pairs: Sequence[Pair], examiner: Examiner, max_new_tokens: int, batch_rows: int
) -> tuple[list[Prediction], float]:
    """Predictions for all pairs in order, and the generated tokens a second."""
    started = time.perf_counter()
    prompts = [policy.encode_prompt(domain, p) for p in pairs]
    sampling = Sampling(max_new_tokens=max_new_tokens, temperature=0.0)
    rollouts = sample_groups(policy, prompts, 1, sampling, 0, batch_rows)
    generated = [row[keep].tolist() for row, keep in zip(rollouts.ids.cpu(), rollouts.mask.cpu(), strict=True)]
    speed = sum(map(len, generated)) / (time.perf_counter() - started)
    responses = [
        parse_response(domain, decode_response(policy.tokenizer, ids), finished)
        for ids, finished in zip(generated, rollouts.finished.tolist(), strict=True)
    ]
    contexts = [
        prompt + ids[: label_position(domain, policy, ids, response)]
        for prompt, ids, response in zip(prompts, generated, responses, strict=True)
    ]
    wanted = [i for i, r in enumerate(responses) if r.steps[domain.label_step] is not None]
    probabilities = label_distribution(policy, domain, [contexts[i] for i in wanted], batch_rows)
    by_pair = dict(zip(wanted, probabilities.tolist(), strict=True))
    verdicts = examiner.examine(pairs, responses).values
    predictions = [
        Prediction(
            pair_id=pair.pair_id, query_id=pair.query_id, label=pair.label,
            predicted=response.label if response.well_formed else None,
            probs=tuple(by_pair[i]) if i in by_pair else None, response=response.text, reason=response.reason,
            steps=tuple(s.text if s else None for s in response.steps), verdicts=tuple(verdicts[i].tolist()),
            tags=pair.tags, tokens=len(generated[i]),
        )
        for i, (pair, response) in enumerate(zip(pairs, responses, strict=True))
    ]  # fmt: skip
    return predictions, speed


def predict_in_parts(
    policy: Policy, domain: Domain, pairs: Sequence[Pair], examiner: Examiner, max_new_tokens: int
) -> Iterator[list[Prediction]]:
    """Predictions for all pairs in order, PART_PAIRS at a time, so that somebody can be told how far it is."""
    size = PART_PAIRS.get(policy.device.type, PART_PAIRS["cuda"])
    for start in range(0, len(pairs), size):
        yield predict(policy, domain, pairs[start : start + size], examiner, max_new_tokens, size)[0]


def label_position(domain: Domain, policy: Policy, ids: list[int], response: Response) -> int:
    """How many generated tokens stand before the label: up to and including the label section's header."""
    step = response.steps[domain.label_step]
    if step is None:
        return len(ids)
    header_end = step.start + len(step.key) + 2
    ends = token_ends(policy.tokenizer, ids)
    return next((i + 1 for i, end in enumerate(ends) if end >= header_end), len(ids))
