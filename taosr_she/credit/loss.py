"""The policy loss: clipped surrogate over per-token advantages, with an optional KL penalty."""

import torch
from torch import Tensor

from taosr_she.credit.config import LossConfig


def policy_loss(
    logp: Tensor,
    old_logp: Tensor | None,
    advantages: Tensor,
    mask: Tensor,
    config: LossConfig,
    ref_logp: Tensor | None = None,
    denominator: float | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """logp, old_logp, advantages, ref_logp (B, T); mask (B, T) bool -> (scalar loss, stats).

    `old_logp` None means on-policy: the ratio is 1 and only its gradient counts. `denominator` is what the whole batch is
    divided by (its number of tokens, or of responses with `normalise: response`); give it when the batch comes in
    micro-batches, whose losses then add up to the loss of the whole. Stats: `clip_share` and `kl`, means over tokens.

    Sources: PPO (1707.06347) for the clipping, GRPO (2402.03300) equation 4 for the KL estimator. With `normalise: token` it
    equals TRL's GRPO loss of type `bnpo`, with `response` that of type `grpo`.
    """
    ratio = torch.exp(logp - (logp.detach() if old_logp is None else old_logp))
    clipped = ratio.clamp(1 - config.clip_low, 1 + config.clip_high)
    per_token = -torch.minimum(ratio * advantages, clipped * advantages)  # (B, T)
    kl = torch.zeros_like(logp)
    if config.beta > 0:
        if ref_logp is None:
            raise ValueError("beta above 0 needs the reference policy's log-probabilities")
        gap = ref_logp - logp
        kl = torch.exp(gap) - gap - 1
        per_token = per_token + config.beta * kl
    weight = mask.to(logp.dtype)
    tokens = weight.sum()
    if config.normalise == "token":
        loss = (per_token * weight).sum() / (tokens if denominator is None else denominator)
    else:
        per_response = (per_token * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
        loss = per_response.sum() / (len(logp) if denominator is None else denominator)
    with torch.no_grad():
        # Clipping acts where it lowers the objective: a raised ratio with positive advantage, a lowered one with negative.
        acts = ((ratio > 1 + config.clip_high) & (advantages > 0)) | ((ratio < 1 - config.clip_low) & (advantages < 0))
        stats = {
            "clip_share": float((acts.to(logp.dtype) * weight).sum() / tokens.clamp(min=1)),
            "kl": float((kl * weight).sum() / tokens.clamp(min=1)),
        }
    return loss, stats
