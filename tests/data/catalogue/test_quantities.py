"""Numbers and units in one form."""

import pytest

from taosr_she.data.catalogue.quantities import (
    Quantity,
    apart,
    comparable,
    quantities,
    same,
    same_sides,
    sides,
)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("16 GB", "16gb"), ("1tb", "1000 GB"), ('15.6"', "15.6 inch"), ("15.6-inch", "39.6 cm"), ("12 in", "1 ft"),
        ("2-pack", "pack of 2"), ("6 Pack", "set of 6"), ("1 l", "1000ml"), ("1,000 ml", "1 Liter"),
        ("5 1/2 inch", "5.5 in"), ("1/2 gallon", "2 qt"), ("8 oz", "227 g"), ("1 fl oz", "29.6 ml"), ("2 lbs", "32 oz"),
        ("3 yards", "9 feet"), ("1.5 kW", "1500 watts"), (".5 oz", "1/2 ounce"),
    ],
)  # fmt: skip
def test_the_same_amount_in_other_words(a: str, b: str) -> None:
    (first,), (second,) = quantities(a), quantities(b)
    assert same(first, second) and comparable(first, second) and not apart(first, second)


def test_other_amounts_and_other_dimensions() -> None:
    assert not same(*quantities("20 ft and 16-foot"))
    assert not same(*quantities("64 GB or 128 GB"))
    assert not comparable(*quantities("16 GB, 15.6 inch"))
    assert not same(*quantities("2 l and 2 kg"))


@pytest.mark.parametrize("text", ["3 in 1 charger", "ages 2-4", "iphone 11", "12-24 inch", "$50 pack", "v2", "8x10"])
def test_what_is_no_single_amount(text: str) -> None:
    assert quantities(text) == []


def test_between_the_same_and_apart_nobody_knows() -> None:
    first, second = quantities("1 fl oz, 30 ml")
    assert not same(first, second) and not apart(first, second)
    assert apart(*quantities("1 fl oz, 50 ml"))


def test_an_ounce_is_mass_and_volume() -> None:
    (ounce,) = quantities("10 oz")
    assert comparable(ounce, Quantity(300, "volume")) and comparable(ounce, Quantity(300, "mass"))
    assert not comparable(ounce, Quantity(300, "length"))


def test_sides_with_and_without_units() -> None:
    assert [s.numbers for s in sides("8x10 frame")] == [(8.0, 10.0)]
    (asked,), (inches,), (quoted,) = sides("8x10"), sides("10 x 8 inch"), sides('8" x 10"')
    assert same_sides(asked, inches) and same_sides(asked, quoted) and same_sides(inches, quoted)
    assert not same_sides(asked, sides("8x12")[0])
    assert not same_sides(inches, sides("8 x 10 cm")[0])
    assert not same_sides(asked, sides("8x10x2")[0])
