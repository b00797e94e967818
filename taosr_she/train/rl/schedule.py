"""Everything that depends only on the update number (pair order, seeds, learning rate) and so needs no saved state."""

from collections.abc import Sequence
from random import Random
from typing import TypeVar

from taosr_she.domain.pair import Pair

T = TypeVar("T")


def pairs_for_update(pairs: Sequence[T], update: int, size: int, seed: int) -> list[T]:
    """The `size` pairs of an update: passes over all pairs, each in an order of its own."""
    chosen: list[T] = []
    for position in range(update * size, (update + 1) * size):
        epoch, index = divmod(position, len(pairs))
        if not chosen or index == 0:
            order = list(range(len(pairs)))
            Random(f"order {seed} {epoch}").shuffle(order)
        chosen.append(pairs[order[index]])
    return chosen


def balanced_pairs_for_update(pairs: Sequence[Pair], update: int, size: int, seed: int) -> list[Pair]:
    """The `size` pairs of an update with equally frequent labels. Each round has one pair of each label, in random
    order, and each label goes through its own pairs in shuffled passes."""
    by_label: dict[str | None, list[Pair]] = {}
    for pair in pairs:
        by_label.setdefault(pair.label, []).append(pair)
    labels = sorted(by_label, key=str)
    chosen = []
    for position in range(update * size, (update + 1) * size):
        round_, place = divmod(position, len(labels))
        label = Random(f"labels {seed} {round_}").sample(labels, len(labels))[place]
        own = by_label[label]
        epoch, index = divmod(round_, len(own))
        order = Random(f"order {seed} {label} {epoch}").sample(range(len(own)), len(own))
        chosen.append(own[order[index]])
    return chosen


def sampling_seed(seed: int, update: int) -> int:
    """The sampler's seed for an update, below 2**63."""
    return Random(f"sampling {seed} {update}").getrandbits(62)


def learning_rate(peak: float, update: int, warmup: int, total: int, schedule: str) -> float:
    """Learning rate of an update (counted from 0): linear warm-up, then constant or linear decay to a tenth."""
    if update < warmup:
        return peak * (update + 1) / warmup
    if schedule == "constant":
        return peak
    done = (update - warmup) / max(1, total - warmup)
    return peak * (1 - 0.9 * done)
