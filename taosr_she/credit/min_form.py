"""Rule `min_form`: the return of step k is the least reward among the steps from k on, not their sum."""

import torch
from torch import Tensor

from taosr_she.credit.config import CreditConfig
from taosr_she.credit.groups import centred
from taosr_she.credit.rewards import step_rewards


def min_form(config: CreditConfig, verdicts: Tensor, outcomes: Tensor, groups: Tensor, label_step: int) -> Tensor:
    """verdicts (B, K) in [0, 1], NaN unknown; outcomes (B,); groups (B,) -> (B, K): z of the returns, step by step.

    Unknown steps are left out of the minimum. A step after the label gets 0 if neither it nor any later step is known.

    Source: PURE (2504.15275), min-form credit assignment in the limit of temperature 0.
    """
    rewards = step_rewards(verdicts, outcomes, label_step)
    known = ~torch.isnan(rewards)
    least = rewards.masked_fill(~known, torch.inf).flip(1).cummin(dim=1).values.flip(1)
    some = torch.isfinite(least)
    return centred(torch.where(some, least, torch.zeros_like(least)), some, groups, config.std)
