"""Rule `mask`: the outcome's advantage, kept on right steps of right rollouts and on wrong steps of wrong ones."""

import torch
from torch import Tensor

from taosr_she.credit.config import CreditConfig
from taosr_she.credit.groups import centred
from taosr_she.credit.srpo import RIGHT


def mask(config: CreditConfig, verdicts: Tensor, outcomes: Tensor, groups: Tensor, label_step: int) -> Tensor:
    """verdicts (B, K) in [0, 1], NaN unknown; outcomes (B,) 0 or 1; groups (B,) -> (B, K).

    A step with an unknown verdict keeps the advantage: it falls back to the outcome.
    """
    column = outcomes[:, None]
    z = centred(column, torch.ones_like(column, dtype=torch.bool), groups, config.std).expand(verdicts.shape)
    agrees = (verdicts >= RIGHT) == (column >= RIGHT)
    return torch.where(agrees | torch.isnan(verdicts), z, torch.zeros_like(z))
