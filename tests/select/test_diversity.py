"""The greedy choices against slow loops; budgets, quotas, blocks, near duplicates."""

import sys
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from taosr_she.base.errors import UserError
from taosr_she.domain.pair import Pair, Product
from taosr_she.select.config import DiversityConfig, SelectionConfig
from taosr_she.select.diversity import METHODS, choose, cut, facility_location, k_center, near_duplicates, shares
from taosr_she.select.embeddings import Points, embed
from taosr_she.select.pipeline import select_pairs


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
    choice = choose(pairs, Points(points, points), np.ones(70, dtype=np.float32), config)
    tail = sum(pairs[i].label == "2" for i in choice.taken)
    assert len(set(choice.taken)) == len(choice.taken) == 20 and tail >= 6 and not choice.duplicates
    assert choice.quotas == {"label 2": (5, tail), "tag tail": (6, tail)}


def test_more_diverse_reasoning_goes_first() -> None:
    points = np.repeat(unit(1, 1), 10, axis=0)
    weights = np.ones(10, dtype=np.float32)
    weights[[4, 7]] = 2
    distinct = Points(points, np.eye(10, dtype=np.float32))
    config = DiversityConfig(budget=3)
    assert {4, 7} <= set(choose(pairs_of(10), distinct, weights, config).taken)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(0, 100))
def test_shares_add_up(sizes: list[int], number: int) -> None:
    found = shares(sizes, number)
    assert sum(found) == min(number, sum(sizes)) and all(0 <= f <= s for f, s in zip(found, sizes, strict=True))


def test_parts_are_small_and_hold_every_row_once() -> None:
    parts = cut(unit(1000, 3), 64)
    assert max(map(len, parts)) <= 64 and sorted(np.concatenate(parts).tolist()) == list(range(1000))
    assert len(cut(np.repeat(unit(1, 1), 50, axis=0), 8)) == 8  # equal points too


def titled(titles: list[str], labels: str) -> list[Pair]:
    return [
        Pair(f"p{i}", f"q{i}", "boots", Product(t), label)
        for i, (t, label) in enumerate(zip(titles, labels, strict=True))
    ]


def test_near_duplicates_have_the_same_label_and_leave_the_first() -> None:
    titles = ["red leather boots for men", "red leather, boots for men!", "red leather boots for men", "green tent"]
    pairs = titled([*titles, "RED leather,  boots for men!"], "44244")
    config = DiversityConfig(budget=5, near_duplicate=0.7)
    choice = choose(pairs, embed(pairs, config, 1), np.ones(5, dtype=np.float32), config)
    assert sorted(choice.taken) == [0, 2, 3] and choice.duplicates == {1: 0, 4: 0}  # 4 equals 1, which is nearly 0


def test_equal_texts_are_found_across_parts() -> None:
    pairs = titled([f"boots {i % 12}" for i in range(48)], "4" * 48)
    config = DiversityConfig(budget=1, block=5, near_duplicate=1)
    points = unit(48, 1)
    choice = choose(pairs, Points(points, points), np.ones(48, dtype=np.float32), config)
    assert sorted(choice.taken) == list(range(12)) and choice.duplicates == {i: i % 12 for i in range(12, 48)}


@given(st.integers(0, 200), st.floats(0.3, 0.99))
@settings(max_examples=25)
def test_every_duplicate_is_near_what_stands_for_it_and_those_that_stay_are_not(seed: int, threshold: float) -> None:
    points, pairs = unit(30, seed, 3), titled([f"boots {i}" for i in range(30)], "42" * 15)
    found = near_duplicates(pairs, points, np.arange(30), threshold)
    cosine = points @ points.T
    for row, first in found.items():
        assert cosine[row, first] >= threshold - 2e-6 and first < row and first not in found
        assert pairs[row].label == pairs[first].label
    stay = [i for i in range(30) if i not in found]
    assert all(cosine[i, j] < threshold for i in stay for j in stay if i < j and pairs[i].label == pairs[j].label)


@pytest.mark.parametrize("quota", [{"label_quota": {"5": 0.1}}, {"tag_quota": {"tial": 0.1}}])
def test_a_quota_that_no_pair_can_fill_is_named(quota: dict[str, dict[str, float]]) -> None:
    config = SelectionConfig.model_validate({"diversity": quota})
    with pytest.raises(UserError, match=r"no pair has '(5|tial)'; there are (4|head)"):
        select_pairs(pairs_of(4), None, config)


@pytest.mark.parametrize("wrong", [{"label_quota": {"4": 0.7, "2": 0.4}}, {"tag_quota": {"tail": 1.5}}])
def test_quotas_beyond_the_budget_are_refused(wrong: dict[str, dict[str, float]]) -> None:
    with pytest.raises(ValidationError, match="quota"):
        DiversityConfig.model_validate(wrong)


def test_embeddings_put_like_texts_near_and_survive_empty_ones() -> None:
    titles = [f"{color} boots {n}" for color in ("red", "blue") for n in range(80)] + ["…"]
    pairs = [Pair(f"p{i}", f"q{i}", t.split()[0], Product(t), "4") for i, t in enumerate(titles)]
    near = embed(pairs, DiversityConfig(dimensions=8), 1).near
    assert near.shape == (161, 8) and np.allclose(np.linalg.norm(near, axis=1), 1, atol=1e-5)
    assert float(near[0] @ near[1]) > float(near[0] @ near[100])


@pytest.mark.parametrize("titles", [["…"], [f"{i}x{i}" for i in range(150)]])
def test_texts_without_a_common_word_can_be_embedded(titles: list[str]) -> None:
    pairs = [Pair(f"p{i}", f"q{i}", "é" if len(titles) == 1 else t, Product(t), "4") for i, t in enumerate(titles)]
    points = embed(pairs, DiversityConfig(), 1)
    assert points.near.shape[0] == points.whole.shape[0] == len(pairs) and np.isfinite(points.near).all()


def test_a_sentence_transformers_model_gives_the_points(monkeypatch: pytest.MonkeyPatch) -> None:
    class Encoder:
        def __init__(self, name: str, trust_remote_code: bool) -> None:
            assert not trust_remote_code
            if name != "here":
                raise OSError(f"{name} is not there\nmore lines")

        def encode(self, texts: list[str], show_progress_bar: bool) -> np.ndarray:
            return np.array([[len(text), 3.0] for text in texts])

    monkeypatch.setitem(sys.modules, "sentence_transformers", types.SimpleNamespace(SentenceTransformer=Encoder))
    points = embed(pairs_of(3), DiversityConfig(embedding="here"), 1)
    assert points.near is points.whole and np.allclose(np.linalg.norm(points.near, axis=1), 1)
    with pytest.raises(UserError, match=r"embedding gone: cannot be loaded \(OSError: gone is not there\)"):
        embed(pairs_of(3), DiversityConfig(embedding="gone"), 1)


def test_a_model_that_is_not_installed_is_one_line() -> None:
    try:
        import sentence_transformers  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match="pip install sentence-transformers"):
            embed(pairs_of(3), DiversityConfig(embedding="some/model"), 1)
    else:
        pytest.skip("sentence-transformers is installed")
