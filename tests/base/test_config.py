"""The strict base of all settings."""

from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from taosr_she.base.config import Strict, describe


class Inner(Strict):
    later: ClassVar[dict[str, Any]] = {"balance": False}
    rate: float = 0.1
    balance: bool = False


class Outer(Strict):
    later: ClassVar[dict[str, Any]] = {"engine": "old"}
    renamed: ClassVar[dict[str, str]] = {"speed": "rate"}
    engine: str = "new"
    inner: Inner = Inner()
    legs: tuple[Inner, ...] = ()


def test_an_option_that_was_added_later_is_left_out_of_a_fingerprint_at_its_former_value() -> None:
    before = {"inner": {"rate": 0.1}, "legs": []}
    assert Outer(engine="old").computed() == before
    assert Outer().computed() == before | {"engine": "new"}  # the default may be another one than the former value
    legs = Outer(engine="old", legs=(Inner(balance=True), Inner())).computed()["legs"]
    assert legs == [{"rate": 0.1, "balance": True}, {"rate": 0.1}]
    assert Outer(engine="old").model_dump()["engine"] == "old"  # a dump is whole


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"speed": 2}, "`speed` is now called `rate`: rename it"),
        ({"inner": {"rat": 1}}, "inner.rat: unknown key; remove it or check its spelling"),
        ({"engine": 3}, "engine: YAML reads 3 here; put quotes around a text"),
        ({"inner": {"rate": float("nan")}}, "inner.rate: Input should be a finite number"),
    ],
)
def test_what_is_wrong_is_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as error:
        Outer.model_validate(given)
    assert describe(error.value) == message
