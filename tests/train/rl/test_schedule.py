from collections import Counter

import pytest

from taosr_she.domain.pair import Pair, Product
from taosr_she.train.rl.schedule import balanced_pairs_for_update, learning_rate, pairs_for_update, sampling_seed


def test_every_pass_shows_every_pair_once_whatever_the_batch_size() -> None:
    pairs = list("abcdefg")
    seen = [p for update in range(7) for p in pairs_for_update(pairs, update, 3, seed=4)]
    assert len(seen) == 21
    for epoch in range(3):
        assert sorted(seen[7 * epoch : 7 * epoch + 7]) == pairs
    assert seen[:7] != seen[7:14]


def test_a_batch_larger_than_the_data_repeats_pairs() -> None:
    assert Counter(pairs_for_update(["a", "b"], 1, 5, seed=0)) in (Counter("aabbb"), Counter("aaabb"))


def test_an_update_does_not_depend_on_the_ones_before() -> None:
    pairs = list(range(50))
    assert pairs_for_update(pairs, 17, 8, seed=1) == pairs_for_update(pairs, 17, 8, seed=1)
    assert pairs_for_update(pairs, 17, 8, seed=1) != pairs_for_update(pairs, 17, 8, seed=2)


def labelled(**counts: int) -> list[Pair]:
    return [Pair(f"{c}{i}", f"q{i}", "boots", Product("boots"), c) for c, n in counts.items() for i in range(n)]


def test_balanced_updates_hold_all_labels_alike_and_use_every_pair() -> None:
    pairs = labelled(a=20, b=5, c=2)
    seen = [p for update in range(10) for p in balanced_pairs_for_update(pairs, update, 6, seed=4)]
    assert Counter(p.label for p in seen) == {"a": 20, "b": 20, "c": 20}
    assert all(Counter(p.label for p in seen[i : i + 3]) == {"a": 1, "b": 1, "c": 1} for i in range(0, 60, 3))
    assert set(Counter(p.pair_id for p in seen if p.label == "a").values()) == {1}, "each once in a pass"
    assert set(Counter(p.pair_id for p in seen if p.label == "b").values()) == {4}
    assert len({tuple(p.label for p in seen[i : i + 3]) for i in range(0, 60, 3)}) > 1, "no label always comes first"


def test_a_balanced_update_does_not_depend_on_the_ones_before_or_on_its_size() -> None:
    pairs = labelled(a=9, b=4)
    whole = [p for update in range(4) for p in balanced_pairs_for_update(pairs, update, 3, seed=1)]
    assert whole == balanced_pairs_for_update(pairs, 0, 12, seed=1) != balanced_pairs_for_update(pairs, 0, 12, seed=2)


def test_sampling_seeds_differ() -> None:
    assert len({sampling_seed(seed, update) for seed in range(20) for update in range(20)}) == 400


def test_learning_rate() -> None:
    rates = [learning_rate(1.0, u, warmup=4, total=10, schedule="linear") for u in range(10)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[5:] == sorted(rates[5:], reverse=True) and rates[-1] == pytest.approx(1 - 0.9 * 5 / 6)
    assert learning_rate(1.0, 9, warmup=0, total=10, schedule="constant") == 1.0
