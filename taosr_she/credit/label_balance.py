"""Against a collapse of labels: more weight for rare labels, and an entropy bonus on the label's token."""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor


def label_weights(labels: Sequence[str | None], strength: float) -> dict[str | None, float]:
    """Label -> weight: (share of the label) ** -strength, scaled so that the mean over these labels is 1.

    Strength 0 gives all labels weight 1; strength 1 gives every label the same total weight (the inverse prior).

    >>> label_weights(["4", "4", "4", "1"], 1.0)
    {'4': 0.6666666666666666, '1': 2.0}
    """
    shares = {label: n / len(labels) for label, n in Counter(labels).items()}
    mean = sum(share ** (1 - strength) for share in shares.values())
    return {label: share**-strength / mean for label, share in shares.items()}


def entropy_bonus(logp: Tensor, entropy: Tensor, at: Tensor, weight: float) -> Tensor:
    """The addition to the advantages (B, T) with which the update also raises the entropy of the label's token.

    logp, entropy (B, T): log-probabilities of the sampled tokens and entropies of the distributions they were sampled
    from, without gradient. `at` (B,) long: position of the label's token, -1 if there is none. The result is
    weight * (-logp - entropy) there and 0 elsewhere. Over samples of the policy, (-logp - entropy) * grad logp has the
    mean grad entropy (the score-function estimator with its exact baseline). So a group whose rollouts all give the
    same label also gets a gradient.
    """
    at_label = torch.zeros_like(logp).scatter(1, at.clamp(min=0)[:, None], (at >= 0).to(logp.dtype)[:, None])
    return weight * at_label * (-logp - entropy)
