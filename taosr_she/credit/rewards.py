"""Rewards of steps, for the rules that know no outcome beside them."""

from torch import Tensor


def step_rewards(verdicts: Tensor, outcomes: Tensor, label_step: int) -> Tensor:
    """verdicts (B, K), NaN unknown, with the outcome (B,) in the label step's place -> (B, K).

    The outcome is always known, and what the other rules learn from: a rule without it could not be compared with them.
    """
    rewards = verdicts.clone()
    rewards[:, label_step] = outcomes
    return rewards
