"""Rule `token_penalty`: the outcome less a penalty on the tokens of wrong steps, normalised within the group."""

import torch
from torch import Tensor

from taosr_she.credit.config import CreditConfig
from taosr_she.credit.groups import centred
from taosr_she.credit.srpo import RIGHT


def token_penalty(config: CreditConfig, verdicts: Tensor, outcomes: Tensor, groups: Tensor, label_step: int) -> Tensor:
    """verdicts (B, K) in [0, 1], NaN unknown; outcomes (B,); groups (B,) -> (B, K).

    z of `outcome_weight * R - step_weight * [step wrong]`, step by step. An unknown step has no penalty.

    Source: CAPO (2508.02298), with one baseline a step instead of one over all tokens, for the reason in `process`.
    """
    wrong = (~torch.isnan(verdicts) & (verdicts < RIGHT)).to(verdicts.dtype)
    rewards = config.outcome_weight * outcomes[:, None] - config.step_weight * wrong
    return centred(rewards, torch.ones_like(rewards, dtype=torch.bool), groups, config.std)
