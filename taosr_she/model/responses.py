"""Responses of a policy to pairs, outside the training loop: sampled, decoded and split into steps."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import Response, parse_response
from taosr_she.domain.spans import decode_response
from taosr_she.model.policy import Policy
from taosr_she.model.sampler import Rollouts, Sampling, sample_groups


class Sampled(NamedTuple):
    """B responses, each with its pair and its number of tokens, including the end token."""

    pairs: list[Pair]
    responses: list[Response]
    tokens: list[int]


def sample_responses(
    policy: Policy,
    domain: Domain,
    pairs: Sequence[Pair],
    group_size: int,
    sampling: Sampling,
    seed: int,
    rows: int,
    numbers: Sequence[int] | None = None,
) -> Sampled:
    """`group_size` responses to each of P pairs, at most `rows` at a time: B = P x group_size.

    `numbers`: the places of the pairs in a whole of which they are a part. They are then answered as in the whole.
    """
    prompts = [policy.encode_prompt(domain, pair) for pair in pairs]
    rollouts = sample_groups(policy, prompts, group_size, sampling, seed, rows, numbers=numbers)
    answered = [pairs[g] for g in rollouts.group.tolist()]
    return Sampled(answered, parse_rollouts(policy, domain, rollouts), rollouts.mask.sum(dim=1).tolist())


def parse_rollouts(policy: Policy, domain: Domain, rollouts: Rollouts) -> list[Response]:
    """The B responses of rollouts."""
    ids, masks = rollouts.ids.cpu(), rollouts.mask.cpu()
    return [
        parse_response(domain, decode_response(policy.tokenizer, row[mask].tolist()), finished)
        for row, mask, finished in zip(ids, masks, rollouts.finished.tolist(), strict=True)
    ]


def pieces(policy: Policy, said: Callable[[int, str], None]) -> Callable[[list[int], list[int]], None]:
    """For `sample_groups(heard=...)`: calls `said` with the number of a row and its next piece of text.

    Bytes of an unfinished character wait for the rest of it. The pieces of a row together are the beginning of its
    text, or all of it.
    """
    ids: dict[int, list[int]] = {}
    told: dict[int, int] = {}

    def heard(rows: list[int], tokens: list[int]) -> None:
        for row, token in zip(rows, tokens, strict=True):
            ids.setdefault(row, []).append(token)
            text = decode_response(policy.tokenizer, ids[row]).rstrip("\ufffd")
            before = told.get(row, 0)
            if len(text) > before:
                told[row] = len(text)
                said(row, text[before:])

    return heard
