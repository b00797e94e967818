from random import Random

from hypothesis import given
from hypothesis import strategies as st

from taosr_she.data.misspell import misspell


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=9), min_size=1, max_size=6), st.integers())
def test_one_word_of_more_than_four_letters_changes_by_one_error(words: list[str], seed: int) -> None:
    text = " ".join(words)
    wrong = misspell(Random(seed), text).split()
    assert len(wrong) == len(words)
    changed = [(a, b) for a, b in zip(words, wrong, strict=True) if a != b]
    assert len(changed) <= 1
    for before, after in changed:
        assert len(before) > 4 and abs(len(before) - len(after)) <= 1
        assert before[0] == after[0]
    if all(len(w) <= 4 for w in words):
        assert not changed


def test_errors_do_happen() -> None:
    assert misspell(Random(1), "waterproof jacket") != "waterproof jacket"
