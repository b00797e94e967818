"""The group sampler: G rollouts of every prompt, the prompt encoded once per group.

Prompts are prefilled in one left-padded batch, the cache is copied to the G rollouts of each prompt, then one token a step
is drawn for every live row. Finished rows leave the batch. Draws invert the cumulative distribution at uniforms that
belong to the row alone, so a rollout does not depend on how rows are batched together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from taosr_she.domain.domain import Strict
from taosr_she.model.policy import Policy

COMPACT_SHARE = 8
"""Finished rows leave once they are 1/8 of the batch: copying the cache costs about as much as a decode step."""


class Sampling(Strict):
    """How responses are drawn."""

    max_new_tokens: int = Field(default=128, gt=0)
    """Length limit; a response that reaches it is unfinished, and malformed."""
    temperature: float = Field(default=1.0, ge=0)
    """0 takes the most probable token."""
    top_k: int = Field(default=0, ge=0)
    """Draw from the k most probable tokens; 0 switches it off."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Draw from the smallest set of tokens with this probability."""


@dataclass(frozen=True)
class Rollouts:
    """B = prompts x G rollouts, those of a prompt adjacent, in the order of the prompts. Tensors on the model's device."""

    ids: Tensor  # (B, T) long, padded on the right
    mask: Tensor  # (B, T) bool: generated tokens, end token included
    logprobs: Tensor  # (B, T) of the drawn tokens, at the sampling temperature, before top_k and top_p; 0 in padding
    finished: Tensor  # (B,) bool: ended before the length limit
    group: Tensor  # (B,) long: index of the prompt


def sample_groups(
    policy: Policy, prompts: Sequence[list[int]], group_size: int, sampling: Sampling, seed: int, max_rows: int = 512
) -> Rollouts:
    """Draw `group_size` rollouts of each prompt (lists of token ids); at most about `max_rows` rollouts at a time."""
    if not prompts or not all(prompts):
        raise ValueError("sample_groups needs at least one prompt, and no empty one")
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))  # like lengths together: less padding
    per_batch = max(1, max_rows // group_size)
    shape = (len(prompts), group_size, sampling.max_new_tokens)
    ids = torch.full(shape, policy.pad_id, dtype=torch.long, device=policy.device)
    logprobs = torch.zeros(shape, device=policy.device)
    lengths = torch.zeros(shape[:2], dtype=torch.long, device=policy.device)
    finished = torch.zeros(shape[:2], dtype=torch.bool, device=policy.device)
    training = policy.model.training
    policy.model.eval()
    with torch.inference_mode():
        for start in range(0, len(order), per_batch):
            chosen = order[start : start + per_batch]
            uniforms = _uniforms(seed, chosen, group_size, sampling, policy.device)
            rows = _sample_batch(policy, [prompts[i] for i in chosen], group_size, sampling, uniforms)
            where = torch.tensor(chosen, device=policy.device)
            for target, values in zip((ids, logprobs, lengths, finished), rows, strict=True):
                target[where] = values.view(len(chosen), group_size, *values.shape[1:])
    policy.model.train(training)
    longest = int(lengths.max())
    mask = torch.arange(longest, device=policy.device) < lengths.flatten()[:, None]
    return Rollouts(
        ids.flatten(0, 1)[:, :longest].clone(),
        mask,
        logprobs.flatten(0, 1)[:, :longest].clone(),
        finished.flatten(),
        torch.arange(len(prompts), device=policy.device).repeat_interleave(group_size),
    )


def _uniforms(
    seed: int, chosen: Sequence[int], group_size: int, sampling: Sampling, device: torch.device
) -> Tensor | None:
    """(rows, max_new_tokens) uniforms in [0, 1): a stream of its own for every prompt; None for greedy."""
    if sampling.temperature == 0:
        return None
    streams = []
    for prompt in chosen:
        generator = torch.Generator().manual_seed((seed * 1_000_003 + prompt) % 2**63)
        streams.append(torch.rand(group_size, sampling.max_new_tokens, generator=generator, dtype=torch.float64))
    return torch.cat(streams).to(device)


def _sample_batch(
    policy: Policy, prompts: Sequence[list[int]], group_size: int, sampling: Sampling, uniforms: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """ids (N, T), logprobs (N, T), lengths (N,), finished (N,) of N = prompts x group_size rollouts."""
    device, limit = policy.device, sampling.max_new_tokens
    total = len(prompts) * group_size
    ids = torch.full((total, limit), policy.pad_id, dtype=torch.long, device=device)
    logprobs = torch.zeros((total, limit), device=device)
    lengths = torch.full((total,), limit, dtype=torch.long, device=device)
    finished = torch.zeros(total, dtype=torch.bool, device=device)
    ends = torch.tensor(policy.end_ids, device=device)

    cache, attention, position, logits = _prefill(policy, prompts, group_size)
    rows = torch.arange(total, device=device)  # which rollout each live row is
    for step in range(limit):
        uniform = None if uniforms is None else uniforms[rows, step]
        tokens, logp = _draw(logits, sampling, uniform)
        alive = ~finished[rows]  # finished rows may linger until the batch is compacted; nothing of theirs is kept
        ids[rows[alive], step] = tokens[alive]
        logprobs[rows[alive], step] = logp[alive]
        ended = alive & torch.isin(tokens, ends)
        finished[rows[ended]] = True
        lengths[rows[ended]] = step + 1
        live = int((alive & ~ended).sum())
        if live == 0 or step + 1 == limit:
            break
        if (len(rows) - live) * COMPACT_SHARE >= len(rows):
            keep = torch.nonzero(alive & ~ended).flatten()
            cache.batch_select_indices(keep)
            rows, attention, position, tokens = rows[keep], attention[keep], position[keep], tokens[keep]
        attention = torch.cat([attention, attention.new_ones(len(rows), 1)], dim=1)
        position = position + 1
        logits = policy.model(
            input_ids=tokens[:, None], attention_mask=attention, position_ids=position, past_key_values=cache,
            use_cache=True,
        ).logits[:, -1]  # fmt: skip
    return ids, logprobs, lengths, finished


def _prefill(policy: Policy, prompts: Sequence[list[int]], group_size: int) -> tuple:
    """Encode each prompt once, then copy its cache to the rows of its group.

    Returns the cache, attention mask (N, P), last position (N, 1) and the logits (N, V) of the first new token.
    """
    from transformers import DynamicCache

    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), policy.pad_id, dtype=torch.long)
    attention = torch.zeros((len(prompts), width), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        attention[row, width - len(prompt) :] = 1
    ids, attention = ids.to(policy.device), attention.to(policy.device)
    positions = (attention.cumsum(dim=1) - 1).clamp(min=0)
    out = policy.model(
        input_ids=ids, attention_mask=attention, position_ids=positions,
        past_key_values=DynamicCache(config=policy.model.config), use_cache=True, logits_to_keep=1,
    )  # fmt: skip
    cache = out.past_key_values
    cache.batch_repeat_interleave(group_size)
    return (
        cache,
        attention.repeat_interleave(group_size, dim=0),
        positions[:, -1:].repeat_interleave(group_size, dim=0),
        out.logits[:, -1].repeat_interleave(group_size, dim=0),
    )


def _draw(logits: Tensor, sampling: Sampling, uniform: Tensor | None) -> tuple[Tensor, Tensor]:
    """One token a row and its log-probability: logits (N, V), uniform (N,) -> (N,), (N,)."""
    logits = logits.float()
    if uniform is None:
        best = logits.argmax(dim=-1)
        return best, torch.log_softmax(logits, dim=-1).gather(1, best[:, None])[:, 0]
    logp = torch.log_softmax(logits / sampling.temperature, dim=-1)
    probabilities = _truncate(logp.exp(), sampling)
    # Inverse CDF: one cumulative sum and one search, an order of magnitude cheaper than torch.multinomial on a CPU.
    cumulative = probabilities.double().cumsum(dim=-1)
    target = (uniform * cumulative[:, -1])[:, None]
    tokens = torch.searchsorted(cumulative, target, right=True)[:, 0]
    # A uniform next to 1 may land on the far end after rounding; the last token with probability is meant.
    last = probabilities.shape[1] - 1 - (probabilities > 0).flip(1).float().argmax(dim=1)
    tokens = torch.minimum(tokens, last)
    return tokens, logp.gather(1, tokens[:, None])[:, 0]


def _truncate(probabilities: Tensor, sampling: Sampling) -> Tensor:
    """Zero outside the top_k and top_p sets; (N, V) -> (N, V), not renormalised."""
    if sampling.top_k and sampling.top_k < probabilities.shape[1]:
        floor = probabilities.topk(sampling.top_k, dim=-1).values[:, -1:]
        probabilities = torch.where(probabilities >= floor, probabilities, torch.zeros_like(probabilities))
    if sampling.top_p < 1:
        ordered, index = probabilities.sort(dim=-1, descending=True)
        mass = ordered.sum(dim=-1, keepdim=True)
        before = ordered.cumsum(dim=-1) - ordered
        ordered = torch.where(before < sampling.top_p * mass, ordered, torch.zeros_like(ordered))
        probabilities = torch.zeros_like(probabilities).scatter(1, index, ordered)
    return probabilities
