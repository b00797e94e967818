"""Rule `scalar`: GRPO with a scalar reward model. z(score)[b] on every step, and so on every token."""

import torch
from torch import Tensor

from taosr_she.credit.config import CreditConfig
from taosr_she.credit.groups import centred


def scalar(config: CreditConfig, verdicts: Tensor, outcomes: Tensor, groups: Tensor, label_step: int) -> Tensor:
    """verdicts (B, K) in [0, 1], NaN unknown; outcomes (B,) unused; groups (B,) -> (B, K). Not clamped, as GRPO.

    The score of a rollout is the mean of its known verdicts. `ScalarExaminer` assigns its one number to all K steps, so
    the mean is that number. With an examiner of steps, the rule would reward the share of right steps. A rollout
    without any verdict is not compared and gets 0.

    Source: DeepSeekMath (2402.03300), section 4.1.2, with a reward model's score instead of the outcome.
    """
    known = ~torch.isnan(verdicts)
    count = known.sum(dim=1, keepdim=True)
    score = verdicts.nan_to_num(0.0).sum(dim=1, keepdim=True) / count.clamp(min=1)  # (B, 1)
    return centred(score, count > 0, groups, config.std).expand(verdicts.shape)
