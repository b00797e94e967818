"""From verdicts and outcomes to per-token advantages: where the step advantage is computed."""

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

from taosr_she.credit.config import CreditConfig
from taosr_she.credit.groups import group_index, group_sum
from taosr_she.credit.mask import mask
from taosr_she.credit.min_form import min_form
from taosr_she.credit.outcome import outcome
from taosr_she.credit.pivot import pivot
from taosr_she.credit.process import process
from taosr_she.credit.scalar import scalar
from taosr_she.credit.srpo import srpo
from taosr_she.credit.token_penalty import token_penalty

RULES: dict[str, Callable[[CreditConfig, Tensor, Tensor, Tensor, int], Tensor]] = {
    "outcome": outcome,
    "scalar": scalar,
    "process": process,
    "pivot": pivot,
    "mask": mask,
    "token_penalty": token_penalty,
    "min_form": min_form,
    "srpo": srpo,
}
"""Rule name -> `(config, verdicts (B, K), outcomes (B,), groups (B,), label_step) -> advantages (B, K)`."""

_ZERO = 1e-6  # where the two terms cancel, rounding leaves dust that would count as signal


def step_advantages(
    config: CreditConfig, verdicts: Tensor, outcomes: Tensor, groups: Tensor, label_step: int
) -> Tensor:
    """The advantage of every step: verdicts (B, K) in [0, 1] or NaN, outcomes (B,) 0 or 1, groups (B,) -> (B, K).

    Rollouts with the same group id answer the same pair. Unknown verdicts fall back to the outcome term alone.
    """
    advantages = RULES[config.rule](config, verdicts, outcomes.to(verdicts.dtype), groups, label_step)
    return torch.where(advantages.abs() > _ZERO, advantages, torch.zeros_like(advantages))


def token_advantages(advantages: Tensor, token_steps: Tensor) -> Tensor:
    """Step advantages (B, K) spread over tokens; token_steps (B, T) long, -1 for padding (advantage 0) -> (B, T)."""
    spread = advantages.gather(1, token_steps.clamp(min=0))
    return torch.where(token_steps >= 0, spread, torch.zeros_like(spread))


def signal(advantages: Tensor, groups: Tensor) -> Tensor:
    """(n,) bool, groups in ascending order of their id: some advantage (B, K) of the group is not zero."""
    index, n = group_index(groups)
    return group_sum((advantages != 0).any(dim=1, keepdim=True).float(), index, n)[:, 0] > 0


def no_signal_reasons(advantages: Tensor, outcomes: Tensor, groups: Tensor) -> dict[str, int]:
    """Why groups have no signal, with their number: advantages (B, K), outcomes (B,), groups (B,).

    `all right` or `all wrong`: the outcomes agree, and so does every step that counts. `mixed`: the outcomes differ,
    but the terms cancel or weigh nothing.
    """
    index, n = group_index(groups)
    right = outcomes.float()[:, None]
    share = group_sum(right, index, n)[:, 0] / group_sum(torch.ones_like(right), index, n)[:, 0]
    dead = share[~signal(advantages, groups)].tolist()
    return dict(Counter("all right" if s == 1 else "all wrong" if s == 0 else "mixed" for s in dead))
