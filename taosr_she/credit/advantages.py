"""From verdicts and outcomes to per-token advantages: where the step advantage is computed."""

from collections import Counter

import torch
from torch import Tensor

from taosr_she.base.errors import UserError
from taosr_she.credit.config import CreditConfig
from taosr_she.credit.groups import group_index, group_sum
from taosr_she.credit.rules import RULES, find_rule

_ZERO = 1e-6  # if the two terms cancel, the rounding error left over must not count as signal


def step_advantages(
    config: CreditConfig,
    verdicts: Tensor,
    outcomes: Tensor,
    groups: Tensor,
    label_step: int,
    weights: Tensor | None = None,
) -> Tensor:
    """The advantage of every step: verdicts (B, K) in [0, 1] or NaN, outcomes (B,) 0 or 1, groups (B,) -> (B, K).

    `weights` (B,) multiply the outcomes, for `label_weight`; they are equal within a group.

    Rollouts with the same group id answer the same pair. Steps with an unknown verdict fall back to the outcome term.
    Raises UserError if a rule from outside this package returns another shape or numbers that are not finite.
    """
    outcomes = outcomes.to(verdicts.dtype)
    if weights is not None:
        outcomes = outcomes * weights.to(verdicts.dtype)
    advantages = find_rule(config.rule)(config, verdicts, outcomes, groups, label_step)
    if config.rule not in RULES:
        _check(config.rule, advantages, verdicts)
    return torch.where(advantages.abs() > _ZERO, advantages, torch.zeros_like(advantages))


def _check(rule: str, advantages: object, verdicts: Tensor) -> None:
    if not isinstance(advantages, Tensor) or advantages.shape != verdicts.shape:
        returned = tuple(advantages.shape) if isinstance(advantages, Tensor) else type(advantages).__name__
        raise UserError(f"credit rule {rule}: returned {returned}, expected a tensor of shape {tuple(verdicts.shape)}")
    if not advantages.is_floating_point() or not bool(advantages.isfinite().all()):
        raise UserError(
            f"credit rule {rule}: returned numbers that are not finite floats; note that unknown verdicts are NaN"
        )


def token_advantages(advantages: Tensor, token_steps: Tensor) -> Tensor:
    """Step advantages (B, K) expanded to tokens: token_steps (B, T) long, -1 for padding (advantage 0) -> (B, T)."""
    expanded = advantages.gather(1, token_steps.clamp(min=0))
    return torch.where(token_steps >= 0, expanded, torch.zeros_like(expanded))


def signal(advantages: Tensor, groups: Tensor) -> Tensor:
    """(n,) bool: whether any advantage (B, K) of the group is not zero. Groups are in ascending order of their id."""
    index, n = group_index(groups)
    return group_sum((advantages != 0).any(dim=1, keepdim=True).float(), index, n)[:, 0] > 0


def no_signal_reasons(advantages: Tensor, outcomes: Tensor, groups: Tensor) -> dict[str, int]:
    """Reason -> number of groups without signal: advantages (B, K), outcomes (B,), groups (B,).

    `all right` or `all wrong`: the outcomes agree, and so does every step that counts. `mixed`: the outcomes differ,
    but the terms cancel or have weight 0.
    """
    index, n = group_index(groups)
    right = outcomes.float()[:, None]
    share = group_sum(right, index, n)[:, 0] / group_sum(torch.ones_like(right), index, n)[:, 0]
    dead = share[~signal(advantages, groups)].tolist()
    return dict(Counter("all right" if s == 1 else "all wrong" if s == 0 else "mixed" for s in dead))
