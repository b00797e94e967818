"""Rule `srpo`: the outcome's advantage plus each step's own advantage within the group.

Follows the abstract of TaoSR-SHE (2510.07972), with documented choices (see CreditConfig):

    A[b, k] = w_o * z(R)[b] + w_s * S[b, k]

where R is the outcome, z subtracts the group's mean, and S[b, k] = z(v[., k])[b] over the rollouts it is compared with.
S is 0 if the verdict is unknown or the step is not critical. A step is critical if its verdicts, as right or wrong,
disagree. An examiner that gives 0.9 to one right step and 0.7 to another has found no difference worth learning.

The first error is the first step with a known verdict below 0.5. An unknown step is not an error, and steps after it
are still reached.
"""

import torch
from torch import Tensor

from taosr_she.credit.config import CreditConfig
from taosr_she.credit.groups import centred, disagreeing

RIGHT = 0.5
"""A verdict of at least this counts as right."""


def srpo(config: CreditConfig, verdicts: Tensor, outcomes: Tensor, groups: Tensor, label_step: int) -> Tensor:
    """verdicts (B, K) in [0, 1], NaN unknown; outcomes (B,); groups (B,) -> (B, K), within +-clamp."""
    known = ~torch.isnan(verdicts)
    wrong = known & (verdicts < RIGHT)  # (B, K)
    outcome_term = config.outcome_weight * _outcome_term(config, wrong, outcomes, groups, label_step)  # (B, K)

    errors_before = wrong.long().cumsum(dim=1) - wrong.long()  # (B, K)
    reached = errors_before == 0  # every known step before k is right
    compared = known & reached if config.step_baseline == "reached" else known
    critical = disagreeing(~wrong, compared, groups) & compared
    step = centred(verdicts, compared, groups, config.std)
    advantages = outcome_term + config.step_weight * torch.where(critical, step, torch.zeros_like(step))

    if config.after_error == "outcome":
        advantages = torch.where(reached, advantages, outcome_term)
    elif config.after_error == "negative_outcome":
        advantages = torch.where(reached, advantages, outcome_term.clamp(max=0))
    return advantages.clamp(-config.clamp, config.clamp)


def _outcome_term(config: CreditConfig, wrong: Tensor, outcomes: Tensor, groups: Tensor, label_step: int) -> Tensor:
    """z of the outcome, of which a right label with a wrong step earns only a share -> (B, K)."""
    earned = torch.where(wrong.any(dim=1), outcomes * config.flawed_outcome, outcomes)[:, None]
    term = centred(earned, torch.ones_like(earned, dtype=torch.bool), groups, config.std).expand(wrong.shape)
    if config.outcome_on == "all":
        return term
    only = torch.zeros_like(term)
    only[:, label_step] = term[:, label_step]
    return only
