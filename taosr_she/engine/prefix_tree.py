"""What token sequences begin with in common, so that it need be run only once.

One query against many products, or many queries under one rule book: most of the prompt is the same every time.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

SAVING = 0.2
"""Sharing must save so much of the tokens, or the pass of its own for what is not shared costs more than it brings."""

UNEVEN = 4
"""Classes are laid out with as much room as the largest needs; more than so many times what is used is too much."""


class Plan(NamedTuple):
    """How to run sequences: in classes of (shared first tokens, members)."""

    tokens: int  # to run in all
    alone: tuple[int, ...]  # members that use what was shared already
    classes: tuple[tuple[int, tuple[int, ...]], ...]


def shared_prefixes(sequences: Sequence[list[int]]) -> tuple[list[int], list[int]] | None:
    """For each of N sequences, how many of its first tokens it shares, and its class: (N,) each. None: not worth it.

    Sequences of a class begin with the same tokens, which are run once; one token at least is left to each. See `plan`.
    """
    found = plan(sequences)
    classes = [*found.classes, *((len(sequences[i]) - 1, (i,)) for i in found.alone)]
    room = len(classes) * max(len(members) for _, members in classes)
    if found.tokens > (1 - SAVING) * sum(map(len, sequences)) or room > UNEVEN * len(sequences):
        return None
    lengths, class_of = [0] * len(sequences), [0] * len(sequences)
    for number, (shared, members) in enumerate(classes):
        for i in members:
            lengths[i], class_of[i] = shared, number
    return None if 0 in lengths else (lengths, class_of)


def plan(sequences: Sequence[list[int]]) -> Plan:
    """The classes with the fewest tokens to run when what a class shares counts once."""
    order = sorted(range(len(sequences)), key=lambda i: sequences[i])
    rows = [sequences[i] for i in order]

    @cache
    def best(begin: int, end: int, given: int) -> Plan:
        """For rows[begin:end], the first `given` tokens of which need not be run: in the order of a tree of prefixes,
        either all share more than that, or none does and its branches are on their own."""
        # Sorted: the first and the last differ the earliest.
        limit = min(map(len, rows[begin:end])) - 1
        shared = given
        while shared < limit and rows[begin][shared] == rows[end - 1][shared]:
            shared += 1
        starts = [i for i in range(begin, end) if i == begin or rows[i][shared] != rows[i - 1][shared]]
        branches = list(zip(starts, [*starts[1:], end], strict=True))

        def on_from(length: int) -> Plan:
            if len(branches) == 1:
                return Plan(sum(len(r) - length for r in rows[begin:end]), tuple(order[begin:end]), ())
            parts = [best(*branch, length) for branch in branches]
            return Plan(
                sum(p.tokens for p in parts), sum((p.alone for p in parts), ()), sum((p.classes for p in parts), ())
            )

        without, inside = on_from(given), on_from(shared)
        if inside.tokens + shared >= without.tokens:
            return without
        return Plan(inside.tokens + shared, (), ((shared, inside.alone), *inside.classes))

    return best(0, len(rows), 0)
