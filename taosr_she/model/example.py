"""A training example as tokens, with the targets of the loss."""

from collections.abc import Sequence
from typing import NamedTuple

IGNORE = -100
"""The label of a token that gets no loss (PyTorch's and TRL's convention)."""


class Example(NamedTuple):
    """`labels[i]` is the token that the model should predict at position i, given `ids[:i]`; IGNORE for no loss.

    Usually it is `ids[i]`. If it is another token, the model learns to write one token but continues with the other.
    `weights[i]` is its weight in the mean; without them, each counts 1.
    """

    ids: list[int]
    labels: list[int]
    weights: list[float] | None = None


def answer(prompt: Sequence[int], response: Sequence[int]) -> Example:
    """Learn the response, including the end token, after the prompt."""
    return Example([*prompt, *response], [IGNORE] * len(prompt) + list(response))
