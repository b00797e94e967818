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
    denominator: float | Tensor | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """logp, old_logp, advantages, ref_logp (B, T); mask (B, T) bool -> (scalar loss, stats).

    `old_logp` None means on-policy: the ratio is 1 and only its gradient counts. `denominator` is the number of tokens
    of the whole batch (of responses with `normalise: response`). Pass it if the batch comes in micro-batches; their
    losses then add up to the loss of the batch. Log-probabilities where the mask is False may have any value,
    infinities included. `beta` above 0 without `ref_logp` raises ValueError.

    Stats are means over tokens: `clip_share`, `ratio`, `approx_kl` to the old policy and `kl` to the reference (both
    k3, in nats; `kl` is 0 if `beta` is 0).

    Sources: PPO (1707.06347) for the clipping, GRPO (2402.03300) equation 4 for the KL estimator. With `normalise:
    token` it equals TRL's GRPO loss of type `bnpo`, with `response` that of type `grpo`. With a `beta`, this holds for
    TRL's `use_bias_correction_kl=False` (TRL's default multiplies the KL by the ratio, which GRPO does not).
    """
    # Before any arithmetic: a zero weight afterwards would leave 0 * inf = NaN in the loss and in its gradient.
    zero = torch.zeros_like(logp)
    logp = torch.where(mask, logp, zero)
    old_logp = logp.detach() if old_logp is None else torch.where(mask, old_logp, zero)
    log_ratio = logp - old_logp
    ratio = torch.exp(log_ratio)
    clipped = ratio.clamp(1 - config.clip_low, 1 + config.clip_high)
    per_token = -torch.minimum(ratio * advantages, clipped * advantages)  # (B, T)
    kl = zero
    if config.beta > 0:
        if ref_logp is None:
            raise ValueError("beta above 0 needs the reference policy's log-probabilities")
        gap = torch.where(mask, ref_logp, zero) - logp
        kl = torch.exp(gap) - gap - 1
        per_token = per_token + config.beta * kl
    weight = mask.to(logp.dtype)
    tokens = weight.sum().clamp(min=1)
    if config.normalise == "token":
        loss = (per_token * weight).sum() / (tokens if denominator is None else denominator)
    else:
        per_response = (per_token * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
        loss = per_response.sum() / (len(logp) if denominator is None else denominator)
    with torch.no_grad():
        # Clipping acts if it lowers the objective: on a raised ratio with a positive advantage, or on a lowered ratio
        # with a negative one.
        acts = ((ratio > 1 + config.clip_high) & (advantages > 0)) | ((ratio < 1 - config.clip_low) & (advantages < 0))
        means = {
            "clip_share": acts.to(logp.dtype),
            "ratio": ratio,
            "approx_kl": ratio - 1 - log_ratio,
            "kl": kl,
        }
        stats = {name: float((value * weight).sum() / tokens) for name, value in means.items()}
    return loss, stats
