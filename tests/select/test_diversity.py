"""The greedy choices against slow loops; budgets, quotas, blocks, near duplicates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taosr_she.domain.pair import Pair, Product
from taosr_she.errors import UserError
from taosr_she.select.config import DiversityConfig
from taosr_she.select.diversity import METHODS, choose, cut, facility_location, k_center, shares
from taosr_she.select.embeddings import Points, embed


def unit(rows: int, seed: int, dimensions: int = 5) -> np.ndarray:
    points = np.random.default_rng(seed).normal(size=(rows, dimensions))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def pairs_of(n: int, label: str = "4", tag: str = "head") -> list[Pair]:
    return [Pair(f"p{i}", f"q{i}", "boots", Product(f"boots {i}"), label, tags=(tag,)) for i in range(n)]


def test_k_center_takes_the_farthest_each_time() -> None:
    points, weights = unit(40, 1), np.ones(40, dtype=np.float32)
    chosen = k_center(points, weights, np.ones(40, dtype=bool), 12, [3])
    taken = [3]
    for row in chosen:
        far = [min(1 - float(points[i] @ points[t]) for t in taken) if i not in taken else -1 for i in range(40)]
        assert far[row] == pytest.approx(max(far), abs=1e-6)
        taken.append(row)


def test_k_center_covers_within_twice_the_best_radius() -> None:
    """Gonzalez 1985, in Euclidean distance, which orders pairs as the cosine does."""
    from itertools import combinations

    points = unit(12, 4, 3)
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    chosen = k_center(points, np.ones(12, dtype=np.float32), np.ones(12, dtype=bool), 3, [])
    best = min(distance[:, list(rows)].min(axis=1).max() for rows in combinations(range(12), 3))
    assert distance[:, chosen].min(axis=1).max() <= 2 * best + 1e-6


@given(st.integers(0, 1000))
@settings(max_examples=25)
def test_lazy_facility_location_is_the_plain_greedy_one(seed: int) -> None:
    points = unit(20, seed)
    weights = np.random.default_rng(seed).uniform(1, 2, 20).astype(np.float32)
    candidates = np.random.default_rng(seed + 1).random(20) < 0.8
    number = int(candidates.sum()) // 2
    chosen = facility_location(points, weights, candidates, number, [])
    similar = np.maximum(points @ points.T, 0).astype(np.float64)
    best = np.zeros(20)
    for row in chosen:
        gains = [np.maximum(similar[i] - best, 0).sum() * weights[i] if candidates[i] else -1 for i in range(20)]
        assert gains[row] == pytest.approx(max(gains), rel=1e-4)
        best = np.maximum(best, similar[row])
        candidates[row] = False


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("block", [7, 100])
def test_budget_and_quotas_are_kept(method: str, block: int) -> None:
    pairs = pairs_of(60, "4") + pairs_of(10, "2", "tail")
    points = unit(70, 2)
    config = DiversityConfig.model_validate(
        {"method": method, "budget": 20, "block": block, "label_quota": {"2": 0.25}, "tag_quota": {"tail": 0.3}}
    )
    fate = choose(pairs, Points(points, points), np.ones(70, dtype=np.float32), config)
    kept = [i for i, reason in fate.items() if reason is None]
    assert len(kept) == 20 and sum(pairs[i].label == "2" for i in kept) >= 6
    assert set(fate) == set(range(70))


def test_more_diverse_reasoning_goes_first() -> None:
    points = np.repeat(unit(1, 1), 10, axis=0)
    weights = np.ones(10, dtype=np.float32)
    weights[[4, 7]] = 2
    distinct = Points(points, np.eye(10, dtype=np.float32))
    config = DiversityConfig(budget=3)
    kept = [i for i, reason in choose(pairs_of(10), distinct, weights, config).items() if reason is None]
    assert {4, 7} <= set(kept)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(0, 100))
def test_shares_add_up(sizes: list[int], number: int) -> None:
    found = shares(sizes, number)
    assert sum(found) == min(number, sum(sizes)) and all(0 <= f <= s for f, s in zip(found, sizes, strict=True))


def test_parts_are_small_and_hold_every_row_once() -> None:
    parts = cut(unit(1000, 3), 64)
    assert max(map(len, parts)) <= 64 and sorted(np.concatenate(parts).tolist()) == list(range(1000))
    assert len(cut(np.repeat(unit(1, 1), 50, axis=0), 8)) == 8  # equal points too


def test_near_duplicates_have_the_same_label_and_leave_the_first() -> None:
    titles = ["red leather boots for men", "Red  leather boots FOR men", "red leather boots for men", "green tent"]
    labels = ["4", "4", "2", "4"]
    pairs = [
        Pair(f"p{i}", f"q{i}", "boots", Product(t), label)
        for i, (t, label) in enumerate(zip(titles, labels, strict=True))
    ]
    config = DiversityConfig(budget=4)
    fate = choose(pairs, embed(pairs, config, 1), np.ones(4, dtype=np.float32), config)
    assert fate == {0: None, 1: "near duplicate", 2: None, 3: None}


def test_embeddings_put_like_texts_near_and_survive_empty_ones() -> None:
    titles = [f"{color} boots {n}" for color in ("red", "blue") for n in range(80)] + ["…"]
    pairs = [Pair(f"p{i}", f"q{i}", t.split()[0], Product(t), "4") for i, t in enumerate(titles)]
    near = embed(pairs, DiversityConfig(dimensions=8), 1).near
    assert near.shape == (161, 8) and np.allclose(np.linalg.norm(near, axis=1), 1, atol=1e-5)
    assert float(near[0] @ near[1]) > float(near[0] @ near[100])


def test_a_model_that_is_not_installed_is_one_line() -> None:
    try:
        import sentence_transformers  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match="pip install sentence-transformers"):
            embed(pairs_of(3), DiversityConfig(embedding="some/model"), 1)
    else:
        pytest.skip("sentence-transformers is installed")
