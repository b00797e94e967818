"""Against a skew of labels: weights that make rare labels count more, and a bonus for not being sure of the label."""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor


def label_weights(labels: Sequence[str | None], strength: float) -> dict[str | None, float]:
    """Label -> weight: (share of the label) ** -strength, scaled so that the mean over these labels is 1.

    Strength 0 weighs all alike, 1 gives every label the same weight in total (the inverse prior).

    >>> label_weights(["4", "4", "4", "1"], 1.0)
    {'4': 0.6666666666666666, '1': 2.0}
    """
    shares = {label: n / len(labels) for label, n in Counter(labels).items()}
    mean = sum(share ** (1 - strength) for share in shares.values())
    return {label: share**-strength / mean for label, share in shares.items()}


def entropy_bonus(logp: Tensor, entropy: Tensor, at: Tensor, weight: float) -> Tensor:
    """What the advantages (B, T) gain so that the update also raises the entropy of the label's token.

    logp, entropy (B, T): of the tokens sampled, and of the distributions they were sampled from, without gradient. `at`
    (B,) long: the place of the label's token, -1 where there is none. The gain is weight * (-logp - entropy) there, 0
    elsewhere. Over samples of the policy, (-logp - entropy) * grad logp has the mean grad entropy (the score function's
    estimator with its exact baseline), so that a group whose rollouts all say the same is pushed as well.
    """
    there = torch.zeros_like(logp).scatter(1, at.clamp(min=0)[:, None], (at >= 0).to(logp.dtype)[:, None])
    return weight * there * (-logp - entropy)
