import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.data.price import read_price


@pytest.mark.parametrize(
    ("written", "price"),
    [
        ("1299.5", 1299.5), ("1,299", 1299.0), ("1,299.50", 1299.5), ("12,345,678", 12345678.0), ("1.299", 1.299),
        ("204,90", 204.9), ("1.204,90", 1204.9), ("1.234.567", 1234567.0), ("1.234.567,8", 1234567.8), ("0,999", 0.999),
        ("1234,567", 1234.567), ("1 299,50", 1299.5), ("1\u202f299,50", 1299.5), ("1'299.5", 1299.5), ("1’299", 1299.0),
        ("12,-", 12.0), ("1.204,- €", 1204.0), ("204,90 €", 204.9), ("€204,90", 204.9), ("EUR 12.50", 12.5),
        ("12.50 USD", 12.5), ("US$12", 12.0), ("$1,299.00", 1299.0), ("￥99", 99.0), ("  7 ", 7.0), ("9e2", 900.0),
        (5, 5.0), (0, 0.0), (2.5, 2.5),
    ],
)  # fmt: skip
def test_prices_as_shops_write_them(written: Any, price: float) -> None:
    assert read_price(written) == price


@pytest.mark.parametrize("written", [None, "", " "])
def test_no_price_is_none(written: str | None) -> None:
    assert read_price(written) is None


@pytest.mark.parametrize(
    "written",
    ["cheap", "-1", -1, "nan", "inf", float("inf"), float("nan"), True, [1], 10**400, "1e999", "1,2,3", "12,34,567",
     "1.2.3", "1,234,56", "10-20", "from 5", "0,123,456", "1..2", "$", b"5", "٣x"],
)  # fmt: skip
def test_what_cannot_be_read_is_nan(written: Any) -> None:
    price = read_price(written)
    assert price is not None and math.isnan(price)


@pytest.mark.fuzz
@given(st.text(max_size=12) | st.text("0123456789.,' €-$EURe", max_size=12) | st.floats() | st.integers())
def test_anything_is_a_price_or_none_or_nan(written: Any) -> None:
    price = read_price(written)
    assert price is None or math.isnan(price) or 0 <= price < math.inf


@given(st.integers(0, 10**9), st.integers(0, 99))
def test_every_way_to_write_a_price_says_the_same(whole: int, cents: int) -> None:
    value = float(f"{whole}.{cents:02d}")
    english = f"{whole:,}.{cents:02d}"
    german = english.translate(str.maketrans(",.", ".,"))
    french = english.translate(str.maketrans(",.", "\u202f,"))
    for written in (english, german, french, english.replace(",", "'"), f"{whole},{cents:02d}", f"{whole}.{cents:02d}"):
        assert read_price(written) == value
