import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.base.errors import UserError
from taosr_she.data.split import FEW, count_queries, fold_by_query, near_query, split_by_query
from taosr_she.domain.pair import Pair, Product

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


def few(queries: int, pairs_of_query: int) -> list[Pair]:
    return [make(100 * q + n, f"q{q}", f"query number {q}") for q in range(queries) for n in range(pairs_of_query)]


@pytest.mark.parametrize("seed", range(20))
def test_few_queries_hold_the_shares_too(seed: int) -> None:
    pairs = [p for q in range(32) for p in few(33, 3 + q % 7) if p.query_id == f"q{q}"]
    splits = split_by_query(pairs, SHARES, seed)
    assert sorted(p.pair_id for ps in splits.values() for p in ps) == sorted(p.pair_id for p in pairs)
    for name, share in SHARES.items():
        # Half a query's pairs at each of the two cuts.
        assert abs(len(splits[name]) - share * len(pairs)) <= 9
        assert splits[name] == [p for p in pairs if p in splits[name]]


@given(st.lists(st.integers(1, 9), max_size=8), st.integers(0, 99))
def test_each_split_gets_a_query_while_there_are_enough(sizes: list[int], seed: int) -> None:
    pairs = [make(100 * q + n, f"q{q}", f"query {q}") for q, size in enumerate(sizes) for n in range(size)]
    splits = split_by_query(pairs, SHARES, seed)
    filled = [name for name in SHARES if splits[name]]
    assert filled == {0: [], 1: ["training"], 2: ["training", "test"]}.get(len(sizes), list(SHARES))
    assert count_queries(pairs) == len(sizes)


def test_from_many_queries_on_places_are_those_of_earlier_versions() -> None:
    """Measured runs stand on them: this is what the first version of the function gave."""
    splits = split_by_query(few(FEW, 2), SHARES, seed=7)
    assert {name: len(ps) for name, ps in splits.items()} == {"training": 700, "development": 112, "test": 188}
    assert [p.query_id for p in splits["test"][::50]] == ["q2", "q77", "q196", "q364"]


def test_forms_of_a_query_stand_in_one_split_and_move_nothing() -> None:
    words = [f"caf\u00e9 {n}" for n in range(600)]
    pairs = [make(n, f"a{n}", word) for n, word in enumerate(words)]
    forms = [make(1000 + n, f"b{n}", unicodedata.normalize("NFD", word).upper()) for n, word in enumerate(words)]
    alone, both = where(split_by_query(pairs, SHARES, 1)), where(split_by_query([*pairs, *forms], SHARES, 1))
    assert all(both[f"p{n}"] == both[f"p{1000 + n}"] for n in range(600))
    assert count_queries([*pairs, *forms]) == 600
    assert alone.items() <= both.items()


def test_near_queries_stay_together_if_asked() -> None:
    assert near_query("Smart Watches") == near_query("smartwatch") and near_query("tub") != near_query("tube")
    texts = ["head set", "headsets", "aa battery", "AA batteries"] * 50
    pairs = [make(n, f"q{n}", text) for n, text in enumerate(texts)]
    pairs += [make(200 + n, f"q{200 + n}", f"thing {n}") for n in range(100)]
    for seed in range(5):
        splits = where(split_by_query(pairs, {"a": 0.5, "b": 0.5}, seed, near=True))
        assert splits["p0"] == splits["p1"] and splits["p2"] == splits["p3"]
    assert any(where(split_by_query(pairs, {"a": 0.5, "b": 0.5}, s))["p0"] != splits["p1"] for s in range(9))


def test_every_pair_is_tested_in_one_fold_and_no_query_is_in_two_splits() -> None:
    tested: list[str] = []
    for number in range(5):
        splits = fold_by_query(PAIRS, number, 5, SHARES, seed=1)
        assert sorted(p.pair_id for ps in splits.values() for p in ps) == sorted(p.pair_id for p in PAIRS)
        queries = [{p.query for p in splits[name]} for name in ("training", "development", "test")]
        assert not queries[0] & queries[1] and not queries[0] & queries[2] and not queries[1] & queries[2]
        assert 0.15 < len(splits["test"]) / len(PAIRS) < 0.25 and 0.05 < len(splits["development"]) / len(PAIRS) < 0.15
        assert splits == fold_by_query(PAIRS, number, 5, SHARES, seed=1)
        tested += [p.pair_id for p in splits["test"]]
    assert sorted(tested) == sorted(p.pair_id for p in PAIRS)
