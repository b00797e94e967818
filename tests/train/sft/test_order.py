"""The order of examples: every epoch in turn, batches of like length in random order."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from taosr_she.train.sft.order import batch_order
from taosr_she.train.sft.settings import SFTSettings


@given(st.lists(st.integers(1, 50), min_size=1, max_size=120), st.integers(1, 5), st.integers(1, 3), st.integers(0, 9))
def test_batch_order_holds_every_epoch_in_turn(lengths: list[int], size: int, epochs: int, seed: int) -> None:
    settings = SFTSettings(batch_size=size, epochs=epochs)
    order = batch_order(lengths, settings, seed)
    assert Counter(order) == Counter({row: epochs for row in range(len(lengths))})
    assert order == batch_order(lengths, settings, seed)


def test_batch_order_saves_padding_and_is_not_sorted() -> None:
    rng = random.Random(0)
    lengths = [rng.randint(10, 100) for _ in range(320)]
    order = batch_order(lengths, SFTSettings(batch_size=8, epochs=1), seed=1)
    longest = [max(lengths[row] for row in order[i : i + 8]) for i in range(0, 320, 8)]
    assert sum(longest) * 8 < 1.15 * sum(lengths)
    assert longest not in (sorted(longest), sorted(longest, reverse=True))
    assert order != batch_order(lengths, SFTSettings(batch_size=8, epochs=1), seed=2)
