import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.domain.fold import fold, fold_case
from taosr_she.domain.prompt import neutralise


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("plain text", "plain text"), ("cafe\u0301", "café"), ("ｗｉｄｅ　ｔｅｘｔ", "wide text"), ("a\u200bb", "ab"),
        ("two\r\nlines\tx", "two lines x"), ("［label］ 【4】", "(label) (4)"), ("½ ﬁne™", "1⁄2 fineTM"), ("", ""),
    ],
)  # fmt: skip
def test_fold(text: str, folded: str) -> None:
    assert fold(text) == folded


@given(st.text())
def test_the_prompt_shows_folded_text_and_all_forms_of_a_text_fold_alike(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert neutralise(text) == neutralise(fold(text))
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert fold(unicodedata.normalize(form, fold(text))) == fold(text)


@given(st.text(), st.text())
def test_what_folds_alike_is_alike_without_case_too(one: str, other: str) -> None:
    assert fold_case(one) == fold_case(fold(one))
    if fold(one) == fold(other):
        assert fold_case(one) == fold_case(other)


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_folds_as_any_text_does(text: str) -> None:
    marked = fold(text + " é")
    assert f"{fold(text)} é".strip() == marked


def test_case_does_not_count() -> None:
    assert fold_case("ＣAFE\u0301  Straße") == fold_case("café STRASSE")
