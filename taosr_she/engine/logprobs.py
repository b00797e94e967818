"""Log-probabilities of given responses: the exact computation that the trainer differentiates."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from taosr_she.engine.compiled import available, token_gradient, token_scores

CHUNK = {"cpu": 1 << 17}
"""Number of logits that are turned into probabilities at a time. On a CPU, as many as fit in its cache (half a MiB),
which is 4 times faster than all at once (see docs/performance.md); elsewhere 256 MiB, to limit memory."""


def response_logprobs(
    model: Any,
    prompts: Sequence[list[int]],
    ids: Tensor,
    mask: Tensor,
    temperature: float = 1.0,
    with_entropy: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Log-probabilities (B, T) of response tokens `ids` (B, T), and per-token entropies (B, T) in nats if asked for.

    Row b is `prompts[b]` followed by its tokens; `mask[b]` is True for the first of them. Both results are for the
    softmax at `temperature`, and 0 where the mask is False. Log-probabilities have gradients if the caller enables
    them; entropies never do. No logits are computed for prompt positions: see `logits_at`.
    """
    lengths = mask.sum(dim=1).tolist()
    sequences = [p + row[:n] for p, row, n in zip(prompts, ids.tolist(), lengths, strict=True)]
    starts = torch.tensor([len(p) - 1 for p in prompts], device=ids.device)
    rows, columns = mask.nonzero(as_tuple=True)  # (N,) each
    # The last token of a response is predicted but predicts nothing.
    scores = logits_at(model, [s[:-1] for s in sequences], rows, starts[rows] + columns)  # (N, V)
    return token_logprobs(scores, ids, mask, temperature, with_entropy)


def token_logprobs(
    scores: Tensor, ids: Tensor, mask: Tensor, temperature: float, with_entropy: bool
) -> tuple[Tensor, Tensor | None]:
    """Log-probabilities and entropies (B, T) as above, from the logits (N, V) of the tokens in `mask` (B, T)."""
    if temperature <= 0:
        raise ValueError(f"log-probabilities need a temperature above 0, not {temperature}")
    each, entropy = _TokenLogprobs.apply(scores, ids[mask], temperature, with_entropy)
    logprobs = each.new_zeros(mask.shape).masked_scatter(mask, each)
    return logprobs, each.new_zeros(mask.shape).masked_scatter(mask, entropy) if with_entropy else None


def chosen_logprobs(scores: Tensor, tokens: Tensor) -> Tensor:
    """Log-probabilities (N,) of `tokens` (N,) under the logits (N, V)."""
    each: Tensor = _TokenLogprobs.apply(scores, tokens, 1.0, False)[0]
    return each


class _TokenLogprobs(torch.autograd.Function):
    """(N, V) logits, (N,) ids -> (N,) log-probabilities and, without gradient, (N,) entropies.

    Computed in chunks of rows: nothing as large as the logits is held besides them and their gradient. Autograd would
    also keep the softmax, the scaled logits and the temporaries of the entropy.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, ids: Tensor, temperature: float, with_entropy: bool) -> tuple[Tensor, Tensor]:
        ctx.compiled = ctx.needs_input_grad[0] and available(scores)
        if ctx.compiled:
            chosen, entropy, total = token_scores(scores, ids, temperature)
            ctx.save_for_backward(scores, ids, total)
            ctx.temperature = temperature
            ctx.mark_non_differentiable(entropy)
            return chosen, entropy
        total = torch.empty(len(scores), device=scores.device)
        entropy = torch.zeros_like(total)
        for rows in _chunks(scores):
            scaled = _scaled(scores[rows], temperature)
            top = scaled.amax(dim=-1, keepdim=True)
            below = scaled - top
            weights = below.exp()
            mass = weights.sum(dim=-1)
            total[rows] = mass.log() + top[:, 0]
            if with_entropy:
                entropy[rows] = mass.log() - torch.linalg.vecdot(weights, below) / mass
        chosen = _scaled(scores.gather(-1, ids[:, None])[:, 0], temperature) - total
        ctx.save_for_backward(scores, ids, total)
        ctx.temperature = temperature
        ctx.mark_non_differentiable(entropy)
        return chosen, entropy

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        scores, ids, total = ctx.saved_tensors
        if ctx.compiled:
            return token_gradient(scores, ids, total, gradient, ctx.temperature), None, None, None
        weight = gradient[:, None] / ctx.temperature
        out = torch.empty_like(scores)
        for rows in _chunks(scores):
            share = _scaled(scores[rows], ctx.temperature) - total[rows, None]
            share.exp_().mul_(-weight[rows]).scatter_add_(-1, ids[rows, None], weight[rows])
            out[rows] = share
        return out, None, None, None


def _scaled(scores: Tensor, temperature: float) -> Tensor:
    """Logits in float32 at a temperature; a division by 1 is skipped, because it would copy."""
    return scores.float() if temperature == 1 else scores.float() / temperature


def _chunks(scores: Tensor) -> list[slice]:
    step = max(1, CHUNK.get(scores.device.type, 1 << 26) // scores.shape[-1])
    return [slice(start, start + step) for start in range(0, len(scores), step)]


def logits_at(model: Any, sequences: Sequence[list[int]], rows: Tensor, positions: Tensor) -> Tensor:
    """Logits (N, V) after the tokens at `positions` (N,) of the sequences `rows` (N,).

    Sequences are padded on the right and run without an attention mask, which is fastest: a causal model never attends
    to the right.
    """
    device = model.get_input_embeddings().weight.device
    width = max(map(len, sequences))
    padded = torch.tensor([s + [0] * (width - len(s)) for s in sequences], device=device)
    return picked_logits(model, padded, rows.to(device) * width + positions.to(device))


def picked_logits(model: Any, ids: Tensor, places: Tensor, **inputs: Any) -> Tensor:
    """Logits (N, V) after the tokens at `places` (N,), which index the flattened rows of `ids` (R, S).

    The hidden states of these N places are selected just before the output layer, inside the model's own forward pass.
    So later changes to the logits by the architecture (scaling, soft caps) are kept, and only these places cost a row
    of vocabulary size.
    """

    def pick(module: torch.nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor]:
        return (args[0].flatten(0, 1)[places][None],)

    handle = model.get_output_embeddings().register_forward_pre_hook(pick)
    try:
        logits: Tensor = model(input_ids=ids, **{"use_cache": False, **inputs}).logits
    finally:
        handle.remove()
    return logits[0]
