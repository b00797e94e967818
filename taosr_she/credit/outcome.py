"""Rule `outcome`: vanilla GRPO. z(R)[b] on every step, and so on every token."""

import torch
from torch import Tensor

from taosr_she.credit.config import CreditConfig
from taosr_she.credit.groups import centred


def outcome(config: CreditConfig, verdicts: Tensor, outcomes: Tensor, groups: Tensor, label_step: int) -> Tensor:
    """verdicts (B, K), of which only K is used; outcomes (B,); groups (B,) -> (B, K).

    Source: DeepSeekMath (2402.03300), section 4.1.2, outcome supervision.
    """
    column = outcomes[:, None]
    return centred(column, torch.ones_like(column, dtype=torch.bool), groups, config.std).expand(verdicts.shape)
