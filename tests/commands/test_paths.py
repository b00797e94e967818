"""Errors name paths as the user wrote them, and such paths are otherwise ordinary ones."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.commands.paths import path


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_the_text_stays_and_everything_else_is_that_of_a_path(text: str) -> None:
    written, plain = path(text), Path(text)
    assert str(written) == os.fspath(written) == f"{written}" == text
    assert (written.name, written.suffix, written.parts) == (plain.name, plain.suffix, plain.parts)
    assert str(written / "x") == str(plain / "x") and written == plain
    if plain.name:
        assert str(written.with_name("x")) == str(plain.with_name("x"))


def test_a_default_stays_a_path_and_no_text_is_none() -> None:
    assert str(path(Path("a.jsonl"))) == "a.jsonl"
    with pytest.raises(ValueError, match="cannot be empty"):
        path("")
