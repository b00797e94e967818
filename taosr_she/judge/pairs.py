"""Judgements of pairs by a loaded policy: prompt, response, steps and label, label distribution."""

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.engine.speedups import speedups
from taosr_she.judge.decision import WRITTEN, Decision
from taosr_she.judge.judgement import Judgement, judgement, refusal
from taosr_she.model.label_probs import label_tokens, read_labels
from taosr_she.model.policy import Policy
from taosr_she.model.responses import parse_rollouts
from taosr_she.model.sampler import sample_groups
from taosr_she.model.sampling import Sampling

T = TypeVar("T")

PART_PAIRS = {"cpu": 64, "cuda": 256}
"""Number of pairs in a part of `judge_in_parts`, generated together. On a CPU, larger parts are not faster."""


class Judged(NamedTuple):
    """Judgements in the order of the pairs."""

    judgements: list[Judgement]
    seconds: float  # time for the responses


def greedy(max_new_tokens: int) -> Sampling:
    """Greedy decoding: the most probable token at every position. Judging and evaluation use it."""
    return Sampling(max_new_tokens=max_new_tokens, temperature=0.0)


def judge_pairs(
    policy: Policy,
    domain: Domain,
    pairs: Sequence[Pair],
    sampling: Sampling,
    batch_rows: int,
    seed: int = 0,
    decision: Decision = WRITTEN,
) -> Judged:
    """Judgements of all pairs, at most `batch_rows` responses generated at a time; `seed` counts when sampling.

    A pair whose prompt leaves no room for a response of `max_new_tokens` is not given to the model: its judgement has a
    reason instead of a label, and the other pairs are judged. Raises UserError for a problem with the model.
    """
    started = time.perf_counter()
    prompts = [policy.encode_prompt(domain, pair) for pair in pairs]
    room = None if policy.positions is None else policy.positions - sampling.max_new_tokens
    asked = [i for i, prompt in enumerate(prompts) if room is None or len(prompt) <= room]
    tokens = label_tokens(policy, domain)
    put = [prompts[i] for i in asked]
    watched = tokens.firsts if speedups().labels_in_decoding else None
    rollouts = sample_groups(policy, put, 1, sampling, seed, batch_rows, watched or ())
    seconds = time.perf_counter() - started
    responses = parse_rollouts(policy, domain, rollouts)
    rows = read_labels(policy, domain, tokens, put, rollouts, responses, batch_rows)
    probabilities = [None if row is None else dict(zip(domain.codes, row.tolist(), strict=True)) for row in rows]
    counts = rollouts.mask.sum(dim=1).tolist()
    answers = dict(zip(asked, zip(responses, probabilities, counts, strict=True), strict=True))
    judgements = []
    for i, pair in enumerate(pairs):
        if i in answers:
            response, row, count = answers[i]
            judgements.append(judgement(domain, pair.pair_id, response, row, count, decision))
        else:
            reason = (
                f"prompt too long: with {sampling.max_new_tokens} new tokens it exceeds the model's {policy.positions} "
                "positions"
            )
            judgements.append(refusal(domain, pair.pair_id, reason))
    return Judged(judgements, seconds)


def judge_in_parts(
    policy: Policy,
    domain: Domain,
    pairs: Iterable[Pair | Judgement],
    sampling: Sampling,
    seed: int = 0,
    decision: Decision = WRITTEN,
) -> Iterator[list[Judgement]]:
    """Judgements of all pairs in order, part by part. So memory is needed only for one part, and the caller can report
    progress. Pairs are read as they are needed. Items that are already judgements (refusals) keep their position."""
    size = part_size(policy)
    for number, part in enumerate(in_parts(pairs, size)):
        asked = [pair for pair in part if isinstance(pair, Pair)]
        judged = iter(judge_pairs(policy, domain, asked, sampling, size, seed + number, decision).judgements)
        yield [next(judged) if isinstance(pair, Pair) else pair for pair in part]


def part_size(policy: Policy) -> int:
    """Number of pairs in a part, for the policy's device."""
    return PART_PAIRS.get(policy.device.type, PART_PAIRS["cuda"])


def in_parts(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`, the last one shorter."""
    left = iter(items)
    while part := list(islice(left, size)):
        yield part
