"""A training example as tokens, with what is to be learnt of it."""

from collections.abc import Sequence
from typing import NamedTuple

IGNORE = -100
"""The label of a token that gets no loss (PyTorch's and TRL's convention)."""


class Example(NamedTuple):
    """`labels[i]` is what the model should say in place i, given `ids[:i]`; IGNORE where it learns nothing.

    Most often it is `ids[i]`. It may be another token: then the model learns one thing and goes on reading another.
    """

    ids: list[int]
    labels: list[int]


def answer(prompt: Sequence[int], response: Sequence[int]) -> Example:
    """Learn the response, end token included, behind the prompt."""
    return Example([*prompt, *response], [IGNORE] * len(prompt) + list(response))
