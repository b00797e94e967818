"""What is too long is left out and counted, for what it is too long is named."""

import logging

import pytest

from taosr_she.base.errors import UserError
from taosr_she.train.lengths import fitting


@pytest.mark.parametrize(
    ("max_length", "positions", "left", "what"),
    [
        (5, None, 5, "max_length=5"),
        (5, 5, 5, "max_length=5"),
        (5, 3, 3, "the model's 3 positions"),
        (3, 100, 3, "max_length=3"),
    ],
)
def test_what_fits(
    max_length: int, positions: int | None, left: int, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert fitting("rows", list(range(1, 9)), int, max_length, positions) == list(range(1, left + 1))
    assert caplog.messages == [f"rows: {8 - left} of 8 exceed {what} (the longest has 8 tokens) and are left out"]


def test_nothing_is_said_when_all_fit(caplog: pytest.LogCaptureFixture) -> None:
    assert fitting("rows", [3, 4], int, 4, 4) == [3, 4]
    assert not caplog.messages


def test_nothing_that_fits_is_one_line() -> None:
    with pytest.raises(UserError, match=r"rows: none of 2 fits into max_length=3 \(the longest has 5 tokens\); ra"):
        fitting("rows", [4, 5], int, 3, None)
    with pytest.raises(UserError, match=r"none of 2 fits into the model's 3 positions \(the longest has 5 to"):
        fitting("rows", [4, 5], int, 9, 3)
