"""Rule `process`: GRPO with process rewards. The advantage of step k is the sum of z(step rewards) from k on."""

import torch
from torch import Tensor

from taosr_she.credit.config import CreditConfig
from taosr_she.credit.groups import centred
from taosr_she.credit.rewards import step_rewards


def process(config: CreditConfig, verdicts: Tensor, outcomes: Tensor, groups: Tensor, label_step: int) -> Tensor:
    """verdicts (B, K) in [0, 1], NaN unknown; outcomes (B,); groups (B,) -> (B, K). Unknown steps add nothing.

    Source: DeepSeekMath (2402.03300), section 4.1.3. There, one mean over all steps of the group is subtracted. Here it
    is the mean of the same step, because K is fixed. With one mean, a group whose rollouts agree would still change the
    policy.
    """
    rewards = step_rewards(verdicts, outcomes, label_step)
    normal = centred(rewards.nan_to_num(0.0), ~torch.isnan(rewards), groups, config.std)
    return normal.flip(1).cumsum(dim=1).flip(1)
