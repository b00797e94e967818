"""Rule `pivot`: the outcome's advantage on the right prefix if it is positive, on the first error if negative."""

import torch
from torch import Tensor

from taosr_she.credit.config import CreditConfig
from taosr_she.credit.groups import centred
from taosr_she.credit.srpo import RIGHT


def pivot(config: CreditConfig, verdicts: Tensor, outcomes: Tensor, groups: Tensor, label_step: int) -> Tensor:
    """verdicts (B, K) in [0, 1], NaN unknown; outcomes (B,); groups (B,) -> (B, K); zero after the first error.

    An unknown step is not an error. If no step is known to be wrong, a negative advantage goes to the label step,
    because the outcome is about the label.

    Source: the localisation of errors in VPPO (verifiable process rewards, as the design of this project describes it).
    """
    wrong = ~torch.isnan(verdicts) & (verdicts < RIGHT)  # (B, K)
    column = outcomes[:, None]
    z = centred(column, torch.ones_like(column, dtype=torch.bool), groups, config.std)  # (B, 1)
    before = wrong.long().cumsum(dim=1) == 0  # right prefix
    first = wrong & (wrong.long().cumsum(dim=1) == 1)
    blamed = first.clone()
    blamed[:, label_step] |= ~wrong.any(dim=1)
    zero = torch.zeros_like(verdicts)
    return torch.where(before & (z > 0), z, zero) + torch.where(blamed & (z < 0), z, zero)
