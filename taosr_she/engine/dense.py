"""Attention by matrix products, for bfloat16 on a CPU, where the backward pass of torch's flash attention is slow.

Scores and weights are float32, as in the flash kernel. The products with values and all gradients are bfloat16, which
a CPU with bfloat16 instructions multiplies several times faster (docs/performance.md has the gain). Attention weights
are computed again for the gradient instead of being stored.
"""

import torch
from torch import Tensor

BLOCK = 1 << 19
"""Number of scores computed at a time: 2 MiB, which fit into the cache of a core."""


def forward(
    query: Tensor, key: Tensor, value: Tensor, causal: bool, scale: float, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Queries (S, H, L, D), keys and values (S, H_kv, W, D) -> (S, H, L, D) and log-sum-exps of the scores (S, H, L).

    `mask` (S, 1, L, W) is added to the scores; every query must see at least one key.
    """
    out = query.new_empty(query.shape)
    sums = torch.empty(query.shape[:3], dtype=torch.float32)
    hidden = _hidden(query, key) if causal else None
    for part in _blocks(query, key):
        q, k, v = _grouped(query[part], key), _rows(key[part]), _rows(value[part])
        scores = _scores(q, k, scale, query.shape[2], hidden, None if mask is None else mask[part])
        weights = scores.softmax(dim=-1)
        sums[part] = _log_sums(scores, weights).view(sums[part].shape)
        out[part] = torch.bmm(weights.to(v.dtype), v).view(out[part].shape)
    return out, sums


def backward(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    sums: Tensor,
    causal: bool,
    scale: float,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of queries, keys and values, from that of `out`.

    `out` and `sums` (S, H, L) are those of `forward`, or of an attention of which these keys are only a part: weights
    are then shares of that whole, and 0 where its sum is infinite.
    """
    of_query, of_key, of_value = (t.new_empty(t.shape) for t in (query, key, value))
    inner = (gradient * out).sum(dim=-1, dtype=torch.float32)  # (S, H, L)
    hidden = _hidden(query, key) if causal else None
    for part in _blocks(query, key):
        q, k, v = _grouped(query[part], key), _rows(key[part]), _rows(value[part])
        g = _grouped(gradient[part], key)
        scores = _scores(q, k, scale, query.shape[2], hidden, None if mask is None else mask[part])
        weights = scores.softmax(dim=-1)
        weights *= (_log_sums(scores, weights) - sums[part].reshape(len(q), -1, 1)).exp_()
        of_value[part] = torch.bmm(weights.to(g.dtype).transpose(1, 2), g).view(of_value[part].shape)
        share = torch.bmm(g, v.transpose(1, 2)).float().sub_(inner[part].reshape(len(q), -1, 1))
        of_scores = share.mul_(weights).to(q.dtype)
        of_query[part] = torch.bmm(of_scores, k).mul_(scale).view(of_query[part].shape)
        of_key[part] = torch.bmm(of_scores.transpose(1, 2), q).mul_(scale).view(of_key[part].shape)
    return of_query, of_key, of_value


def _rows(x: Tensor) -> Tensor:
    """(S, H_kv, W, D) -> (S * H_kv, W, D), dense."""
    return x.contiguous().flatten(0, 1)


def _grouped(x: Tensor, key: Tensor) -> Tensor:
    """(S, H, L, D) -> (S * H_kv, repeats * L, D), dense: query heads that share a key head are concatenated."""
    return x.reshape(len(x) * key.shape[1], -1, x.shape[-1])


def _scores(query: Tensor, key: Tensor, scale: float, width: int, hidden: Tensor | None, mask: Tensor | None) -> Tensor:
    """(S * H_kv, repeats * L, W) in float32, from queries (S * H_kv, repeats * L, D) and keys (S * H_kv, W, D)."""
    scores = torch.bmm(query.float().mul_(scale), key.float().transpose(1, 2))
    heads = scores.view(len(scores), -1, width, scores.shape[-1])
    if hidden is not None:
        heads += hidden
    if mask is not None:
        heads += mask.repeat_interleave(len(scores) // len(mask), dim=0)
    return scores


def _log_sums(scores: Tensor, weights: Tensor) -> Tensor:
    """Log-sum-exp of each row, as a dimension of size 1, recovered from the largest weight."""
    return scores.amax(dim=-1, keepdim=True) - weights.amax(dim=-1, keepdim=True).log_()


def _hidden(query: Tensor, key: Tensor) -> Tensor:
    """The causal mask to add to the scores (L, W): no query sees keys to its right."""
    return torch.full((query.shape[2], key.shape[2]), -torch.inf).triu(1)


def _blocks(query: Tensor, key: Tensor) -> list[slice]:
    step = max(1, BLOCK // max(1, query.shape[1] * query.shape[2] * key.shape[2]))
    return [slice(start, start + step) for start in range(0, len(query), step)]
