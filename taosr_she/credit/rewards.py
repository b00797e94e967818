"""Rewards of steps, for the rules without a separate outcome term."""

from torch import Tensor


def step_rewards(verdicts: Tensor, outcomes: Tensor, label_step: int) -> Tensor:
    """verdicts (B, K), NaN unknown, in which the outcome (B,) replaces the label step's verdict -> (B, K).

    The outcome is always known, and the other rules learn from it. Without it, a rule could not be compared with them.
    """
    rewards = verdicts.clone()
    rewards[:, label_step] = outcomes
    return rewards
