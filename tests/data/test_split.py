from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.data.split import split_by_query
from taosr_she.domain.pair import Pair, Product
from taosr_she.errors import UserError

SHARES = {"training": 0.7, "development": 0.1, "test": 0.2}


def make(n: int, query_id: str, query: str) -> Pair:
    return Pair(f"p{n}", query_id, query, Product("x"))


PAIRS = [make(n, f"q{n // 3}", f"query number {n // 3}") for n in range(3000)]


def where(splits: dict[str, list[Pair]]) -> dict[str, str]:
    return {p.pair_id: name for name, pairs in splits.items() for p in pairs}


def test_shares_hold_and_every_pair_is_somewhere_in_order() -> None:
    splits = split_by_query(PAIRS, SHARES, seed=1)
    assert sorted(p.pair_id for ps in splits.values() for p in ps) == sorted(p.pair_id for p in PAIRS)
    for name, share in SHARES.items():
        assert abs(len(splits[name]) / len(PAIRS) - share) < 0.05
        assert splits[name] == [p for p in PAIRS if p in splits[name]]


def test_seed_decides_and_other_pairs_do_not() -> None:
    whole = where(split_by_query(PAIRS, SHARES, seed=1))
    part = where(split_by_query(PAIRS[1500::-2], SHARES, seed=1))
    assert part.items() <= whole.items()
    assert where(split_by_query(PAIRS, SHARES, seed=2)) != whole


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["Red  shoe", "red shoe", " RED SHOE", "hat", "cup"]))),
    st.integers(0, 50),
)
def test_a_query_is_never_divided(rows: list[tuple[str, str]], seed: int) -> None:
    pairs = [make(n, query_id, query) for n, (query_id, query) in enumerate(rows)]
    splits = split_by_query(pairs, {"a": 0.5, "b": 0.5}, seed)
    for key in (lambda p: p.query_id, lambda p: " ".join(p.query.lower().split())):
        assert not {key(p) for p in splits["a"]} & {key(p) for p in splits["b"]}


def test_an_id_of_its_own_does_not_part_equal_queries() -> None:
    twins = [replace(p, pair_id=p.pair_id + "x", query_id="other" + p.query_id, query=p.query.upper()) for p in PAIRS]
    splits = where(split_by_query([*PAIRS, *twins], SHARES, seed=3))
    assert all(splits[p.pair_id] == splits[p.pair_id + "x"] for p in PAIRS)


def test_a_share_of_nothing_gets_nothing() -> None:
    assert split_by_query(PAIRS, {"a": 0.0, "b": 1.0, "c": 0.0}, seed=0)["b"] == PAIRS


@pytest.mark.parametrize("shares", [{}, {"a": 0.5}, {"a": 1.5, "b": -0.5}, {"a": float("nan")}])
def test_impossible_shares_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(UserError, match="must sum to 1"):
        split_by_query(PAIRS, shares, seed=0)
