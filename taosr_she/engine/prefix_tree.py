"""Finds common prefixes of token sequences, which then need to be run only once.

With one query and many products, or many queries under one rule book, most of the prompt is the same every time.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

SAVING = 0.2
"""Sharing must save at least this share of the tokens; otherwise the separate pass for the rest costs more."""

UNEVEN = 4
"""All classes get as much memory as the largest needs; at most this many times the memory that is used."""


class Plan(NamedTuple):
    """A way to run sequences: in classes of (number of shared first tokens, members)."""

    tokens: int  # to run in all
    alone: tuple[int, ...]  # members that use what was shared already
    classes: tuple[tuple[int, tuple[int, ...]], ...]


def shared_prefixes(sequences: Sequence[list[int]]) -> tuple[list[int], list[int]] | None:
    """For each of N sequences, the number of its shared first tokens, and its class: (N,) each. None: not worthwhile.

    Sequences of a class begin with the same tokens, which are run once; at least one token of each is not shared. See
    `plan`.
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
    """The classes with the fewest tokens to run, if the shared tokens of a class count once."""
    order = sorted(range(len(sequences)), key=lambda i: sequences[i])
    rows = [sequences[i] for i in order]

    @cache
    def best(begin: int, end: int, given: int) -> Plan:
        """Plan for rows[begin:end], whose first `given` tokens are already shared, as in a tree of prefixes: either all
        rows share more tokens, or the branches are planned separately."""
        # The rows are sorted, so the first and the last differ earliest.
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
