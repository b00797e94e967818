"""Rule `token_penalty`: the outcome minus a penalty on the tokens of wrong steps, normalised within the group."""

import torch
from torch import Tensor

from taosr_she.credit.config import CreditConfig
from taosr_she.credit.groups import centred
from taosr_she.credit.srpo import RIGHT


def token_penalty(config: CreditConfig, verdicts: Tensor, outcomes: Tensor, groups: Tensor, label_step: int) -> Tensor:
    """verdicts (B, K) in [0, 1], NaN unknown; outcomes (B,); groups (B,) -> (B, K).

    z of `outcome_weight * R - step_weight * [step wrong]` over all steps of the group together. So a step that every
    rollout has wrong still counts against its tokens. An unknown step has no penalty. (With a baseline for each step,
    this would be `srpo` without options, as long as all verdicts are known and 0 or 1.)

    Source: CAPO (2508.02298), which takes its baseline over tokens; here it is over steps.
    """
    wrong = (~torch.isnan(verdicts) & (verdicts < RIGHT)).to(verdicts.dtype)
    rewards = config.outcome_weight * outcomes[:, None] - config.step_weight * wrong
    every = rewards.reshape(-1, 1)
    groups_of = groups.repeat_interleave(rewards.shape[1])
    return centred(every, torch.ones_like(every, dtype=torch.bool), groups_of, config.std).reshape(rewards.shape)
