"""Samples the next token from logits by inverse CDF, with uniform numbers fixed before generation starts."""

from collections.abc import Sequence

import numpy as np
import torch

NUCLEUS_PREFIX = 64
"""Number of most probable tokens that are searched first for the nucleus, which nearly always ends within them."""


def row_uniforms(rows: Sequence[int], length: int, seed: int) -> torch.Tensor:
    """Uniform numbers in [0, 1), (len(rows), length) float32: one stream for each (seed, row number).

    So the samples of a row depend only on its number. Philox (Salmon et al. 2011) has a 256-bit counter; the row number
    is in its upper half, so streams never overlap.
    """
    streams = (np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, row, 0])) for row in rows)
    drawn = [stream.random(length, dtype=np.float32) for stream in streams]
    return torch.from_numpy(np.stack(drawn)) if drawn else torch.zeros(0, length)


def draw(
    logits: torch.Tensor,
    uniforms: torch.Tensor,
    temperature: float,
    top_k: int = 0,
    top_p: float = 1.0,
    given: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One token per row: ids (R,) and log-probabilities (R,) from logits (R, V) and uniforms (R,).

    Log-probabilities are those of the full softmax at this temperature, before top-k and top-p. Temperature 0 takes the
    most probable token, with its log-probability at temperature 1. The tokens `given` (R,) are taken instead of drawn.
    """
    scores = logits.float()
    if temperature > 0 and temperature != 1:
        scores = scores / temperature
    top = scores.amax(dim=-1, keepdim=True)
    weights = (scores - top).exp_()
    if given is not None:
        tokens = given[:, None]
        total = weights.sum(dim=-1, keepdim=True)
    elif temperature == 0:
        tokens = scores.argmax(dim=-1, keepdim=True)
        total = weights.sum(dim=-1, keepdim=True)
    elif top_k == 0 and top_p == 1:
        mass = weights.cumsum(dim=-1)
        total = mass[:, -1:]
        tokens = _place(mass, uniforms[:, None] * total).clamp_(max=scores.shape[-1] - 1)
    else:
        total = weights.sum(dim=-1, keepdim=True)
        tokens = _draw_truncated(weights, total, uniforms[:, None], top_k, top_p)
    logprobs = scores.gather(-1, tokens) - top - total.log()
    return tokens[:, 0], logprobs[:, 0]


def _draw_truncated(
    weights: torch.Tensor, total: torch.Tensor, uniforms: torch.Tensor, top_k: int, top_p: float
) -> torch.Tensor:
    """Token ids (R, 1): top-k first, then the nucleus of the remaining tokens (Holtzman et al. 2020).

    The nucleus is the shortest list of most probable tokens with at least `top_p` of the mass. Only a prefix is sorted;
    it is extended only if some row's nucleus is longer.
    """
    vocab = weights.shape[-1]
    width = min(top_k or NUCLEUS_PREFIX, vocab)
    while True:
        likeliest, ids = weights.topk(width, dim=-1)
        mass = likeliest.cumsum(dim=-1)
        if top_k or width == vocab or bool((mass[:, -1:] >= top_p * total).all()):
            break
        width = min(8 * width, vocab)
    whole = mass[:, -1:] if top_k else total
    last = (mass[:, :-1] < top_p * whole).sum(dim=-1, keepdim=True)  # a token stays if those before have too little
    place = _place(mass, uniforms * mass.gather(-1, last))
    return ids.gather(-1, torch.minimum(place, last))


def _place(mass: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """First position whose cumulative mass exceeds the target; a token without mass is never drawn."""
    return torch.searchsorted(mass, target, right=True)
