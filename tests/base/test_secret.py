"""URLs are shown without their secrets."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.base.secret import masked, masked_values, without_secrets_of


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("https://ann:secret@host/v1", "https://***@host/v1"),
        ("https://token@host/v1?api-version=1#x", "https://***@host/v1?***"),
        ("postgresql+psycopg://u:p@a/b?c@d@host:5432/people", "postgresql+psycopg://***@host:5432/people"),
        ("postgresql://u:p w'@host/people", "postgresql://***@host/people"),
        ("sqlite:////data/people.db", "sqlite:////data/people.db"),
        ("sqlite:///x.db?key=1", "sqlite:///x.db?***"),
        ("neither http://u:p@h/v1, nor http://h2/v1?k=v: no", "neither http://***@h/v1, nor http://h2/v1?*** no"),
        ("base_url http://h:80/v1: mail ann@example.com?", "base_url http://h:80/v1: mail ann@example.com?"),
        ("people.db", "people.db"), ("a@b", "a@b"), ("", ""),
    ],
)  # fmt: skip
def test_masked(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert masked(shown) == shown


secrets = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters="/@:'\"<>"), min_size=3)


@given(secrets, secrets, secrets, secrets)
def test_no_user_password_or_query_is_left(before: str, user: str, password: str, query: str) -> None:
    shown = masked(
        f"{before} postgresql://<U>{user}:<P>{password}@host/people?<Q>{query}".replace("<", "‹").replace(">", "›")
    )
    assert "‹" not in shown and "host/people?***" in shown


def test_values_of_settings_keys_included() -> None:
    content = {"http://a:b@h": [1, ("http://h?k", None)], "n": {"url": "http://u@h", "x": 0.5}}
    assert masked_values(content) == {
        "http://***@h": [1, ["http://h?***", None]],
        "n": {"url": "http://***@h", "x": 0.5},
    }


def test_parts_that_somebody_repeats() -> None:
    url = "postgresql://ann:s%40cret@host/people?sslpassword=hidden&sslmode=require"
    said = 'role "ann" with s@cret (s%40cret), hidden; sslmode=require for annabel'
    assert without_secrets_of(url, said) == 'role "***" with *** (***), ***; sslmode=*** for annabel'
    assert without_secrets_of("http://[broken", "http://a:b@h") == "http://***@h"


def test_long_texts_take_no_time() -> None:
    start = time.monotonic()
    for text in ("x" * 200_000, "a:" * 100_000, "http://a:" * 20_000, "http://" + "@" * 100_000, "://" * 60_000):
        masked(text)
    assert time.monotonic() - start < 2
