"""Made-up queries: of the product's own words, or of none of them."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.base.errors import UserError
from taosr_she.data.matching import MatchingConfig, matching_exercises
from taosr_she.data.split import near_query
from taosr_she.data.teachers.words import singular, words
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair, Product

ESCI = load_domain("esci")
TITLES = [
    "Norvik trail boots, red 42", "Steel water bottle 1 l", "Zelt für zwei Personen", "割れない鏡 防災",
    "USB cable 2 m",
]  # fmt: skip
TRAINING = [Pair(f"p{n}", f"q{n}", f"query {n}", Product(title), label="S") for n, title in enumerate(TITLES)]


def keys(text: str) -> set[str]:
    return set(map(singular, words(text)))


def test_every_other_query_is_of_the_title_and_the_rest_have_no_word_of_it() -> None:
    made = matching_exercises(ESCI, MatchingConfig(count=400), TRAINING, [], seed=1)
    assert len(made) == 400 and len({pair.pair_id for pair in made}) == 400
    for pair in made:
        shared = keys(pair.query) & keys(pair.product.title)
        assert pair.query and not any(map(str.isdigit, pair.query))
        if pair.label == "E":
            assert shared == keys(pair.query)
        else:
            assert pair.label == "I" and not shared
    assert sum(pair.label == "E" for pair in made) == 200
    assert {pair.product.title for pair in made} == set(TITLES)
    assert made == matching_exercises(ESCI, MatchingConfig(count=400), TRAINING, [], seed=1)
    assert made != matching_exercises(ESCI, MatchingConfig(count=400), TRAINING, [], seed=2)


def test_half_of_the_unrelated_queries_are_real_and_none_is_of_a_scored_split(tmp_path: Path) -> None:
    asked = ["hiking poles", "Hiking-Pole", "camping stove", "tent pegs", "red boots"]
    rows = [
        {"query_key": str(n), "query": q, "tokens": q.split(), "tags": ["O"] * len(q.split())}
        for n, q in enumerate(asked)
    ]
    file = tmp_path / "queries.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    scored = [Pair("s", "s", "hiking pole", Product("x"))]
    made = matching_exercises(ESCI, MatchingConfig(count=600, queries=str(file)), TRAINING, scored, seed=3)
    unrelated = [pair for pair in made if pair.label == "I"]
    real = [pair for pair in unrelated if pair.query in asked]
    assert not any(near_query(pair.query) == near_query("hiking pole") for pair in made)
    assert {pair.query for pair in real} == {"camping stove", "tent pegs", "red boots"}
    assert 0.35 < len(real) / len(unrelated) < 0.65  # a real one with a word of the title is drawn again
    assert all(not keys(pair.query) & keys(pair.product.title) for pair in unrelated)
    with pytest.raises(UserError, match="no such file"):
        matching_exercises(ESCI, MatchingConfig(count=1, queries=str(tmp_path / "none.jsonl")), TRAINING, [], seed=1)


@given(st.lists(st.text(max_size=30), max_size=4), st.integers(0, 3))
def test_any_titles_give_queries_with_words_or_none(titles: list[str], seed: int) -> None:
    training = [Pair(f"p{n}", f"q{n}", "q", Product(title), label="E") for n, title in enumerate(titles)]
    made = matching_exercises(ESCI, MatchingConfig(count=6), training, [], seed)
    assert len(made) <= 6 and all(words(pair.query) for pair in made)


def test_one_title_has_no_unrelated_words() -> None:
    made = matching_exercises(ESCI, MatchingConfig(count=10), TRAINING[:1], [], seed=1)
    assert [pair.label for pair in made] == ["E"] * 5
