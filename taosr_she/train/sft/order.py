"""The order of the examples and their batches: the same for both engines."""

import random
from collections.abc import Sequence

from taosr_she.train.sft.settings import SFTSettings

POOL = 16  # batches within which examples are sorted by length: more saves padding, fewer keeps the order random


def batch_order(lengths: Sequence[int], settings: SFTSettings, seed: int) -> list[int]:
    """Example indices for the whole run, epoch after epoch; consecutive batches have examples of similar length.

    Each epoch is shuffled. Within a pool of `POOL` batches, examples are sorted by length and cut into batches, whose
    order is shuffled again. The Trainer's own length grouping sorts every pool from long to short, which would affect
    the learning rate schedule and the loss curve. With one fixed order, resuming only needs to skip examples.
    """
    size, rng = settings.batch_size, random.Random(seed)
    stream: list[int] = []
    for _ in range(settings.epochs):
        epoch = list(range(len(lengths)))
        rng.shuffle(epoch)
        stream += epoch
    order: list[int] = []
    for start in range(0, len(stream), POOL * size):
        rows = sorted(stream[start : start + POOL * size], key=lambda row: lengths[row])
        batches = [rows[i : i + size] for i in range(0, len(rows), size)]
        short = [batches.pop()] if len(batches[-1]) < size else []  # must stay last, or it shifts every later batch
        rng.shuffle(batches)
        order += [row for batch in batches + short for row in batch]
    return order
