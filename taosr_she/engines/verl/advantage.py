"""verl's advantage estimator `srpo`: verdicts out of the rewards of tokens, advantages by `credit`."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from taosr_she.credit.advantages import step_advantages, token_advantages
from taosr_she.engines.verl.codes import unpack
from taosr_she.engines.verl.settings import read_settings


def srpo(
    token_level_rewards: Tensor, response_mask: Tensor, index: np.ndarray, config: Any = None, **_: Any
) -> tuple[Tensor, Tensor]:
    """Advantages and returns (B, T), both the same, as verl's own estimators without a critic give them.

    token_level_rewards (B, T): as `codes.pack` wrote them. response_mask (B, T): generated tokens. index (B,): the
    `uid` of each row, equal within a group. config: verl's `algorithm`, with our part `srpo`. The credit rule may be
    any of `credit`, by `algorithm.srpo.credit.rule`. UserError for rewards of another agent loop.
    """
    settings, domain = read_settings(config)
    token_steps, verdicts, outcomes = unpack(token_level_rewards, response_mask, len(domain.steps))
    groups = np.unique(np.asarray(index).astype(str), return_inverse=True)[1]
    device = verdicts.device
    by_step = step_advantages(
        settings.credit, verdicts, outcomes, torch.from_numpy(groups).to(device), domain.label_step
    )
    advantages = token_advantages(by_step, token_steps.to(device)).to(token_level_rewards.device)
    return advantages, advantages.clone()
