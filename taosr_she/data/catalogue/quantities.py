"""Numbers with units, normalised: `16 GB`, `15.6"`, `2-pack`, `1 l` and `1000 ml`, `12 inch` and `30.48 cm`."""

import math
import re
from typing import NamedTuple

from taosr_she.domain.fold import fold


class Quantity(NamedTuple):
    """A number in the base unit of its dimension."""

    value: float
    dimension: str


# Unit -> (dimension, factor to the base unit). Units of volume and weight are those of the US, as in these shops and in
# queries with "oz". An ounce is mass or volume, which only the product shows: it is compared as both.
UNITS: dict[str, tuple[str, float]] = {
    "mm": ("length", 1), "cm": ("length", 10), "m": ("length", 1000), "in": ("length", 25.4), "ft": ("length", 304.8),
    "yd": ("length", 914.4),
    "mg": ("mass", 0.001), "g": ("mass", 1), "kg": ("mass", 1000), "lb": ("mass", 453.592),
    "ml": ("volume", 1), "cl": ("volume", 10), "l": ("volume", 1000), "gal": ("volume", 3785.41),
    "qt": ("volume", 946.353), "pt": ("volume", 473.176), "floz": ("volume", 29.5735),
    "oz": ("ounce", 1),
    "mb": ("data", 0.001), "gb": ("data", 1), "tb": ("data", 1000),
    "mah": ("charge", 1), "v": ("voltage", 1), "w": ("power", 1), "kw": ("power", 1000),
    "mhz": ("frequency", 0.001), "ghz": ("frequency", 1),
    "count": ("count", 1),
}  # fmt: skip
OUNCE = {"mass": 28.3495, "volume": 29.5735}

_SPELLINGS: dict[str, str] = {
    "millimeter": "mm", "millimeters": "mm", "centimeter": "cm", "centimeters": "cm", "meter": "m", "meters": "m",
    "metre": "m", "metres": "m", "inch": "in", "inches": "in", '"': "in", "''": "in", "foot": "ft", "feet": "ft",
    "yard": "yd", "yards": "yd", "yds": "yd",
    "milligram": "mg", "milligrams": "mg", "gram": "g", "grams": "g", "gr": "g", "kilogram": "kg", "kilograms": "kg",
    "kgs": "kg", "pound": "lb", "pounds": "lb", "lbs": "lb",
    "milliliter": "ml", "milliliters": "ml", "liter": "l", "liters": "l", "litre": "l", "litres": "l",
    "gallon": "gal", "gallons": "gal", "quart": "qt", "quarts": "qt", "pint": "pt", "pints": "pt",
    "fl oz": "floz", "fl. oz": "floz", "fl. oz.": "floz", "fluid ounce": "floz", "fluid ounces": "floz",
    "ounce": "oz", "ounces": "oz",
    "gigabyte": "gb", "gigabytes": "gb", "terabyte": "tb", "megabyte": "mb",
    "volt": "v", "volts": "v", "watt": "w", "watts": "w", "kilowatt": "kw",
    "pack": "count", "packs": "count", "pk": "count", "count": "count", "ct": "count", "piece": "count",
    "pieces": "count", "pcs": "count", "pc": "count", "pairs": "count", "rolls": "count",
}  # fmt: skip
_ALL = {**{unit: unit for unit in UNITS}, **_SPELLINGS}
_NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?: ?- ?\d+/\d+| \d+/\d+|/\d+)?|\.\d+"
_UNIT = "|".join(re.escape(u) for u in sorted(_ALL, key=len, reverse=True))
_MEASURE = re.compile(rf"(?<![\w.,/$€£-])({_NUMBER})[ -]?({_UNIT})(?![a-z0-9])")
_OF = re.compile(r"(?<!\w)(?:pack|set|box|case|lot|bundle) of (\d+)(?!\w)")
_SIDES = re.compile(  # 8x10, 9 x 12 inch: every side has the unit of the last, or none
    rf"(?<![\w.])(\d+(?:\.\d+)?)[\"']? ?[x×] ?(\d+(?:\.\d+)?)(?:[\"']? ?[x×] ?(\d+(?:\.\d+)?))?"
    rf"[ -]?({_UNIT})?(?![a-z0-9])"
)
_RANGE = re.compile(rf"(?<![\w.])(\d+(?:\.\d+)?) ?(?:-|–|to|~) ?(\d+(?:\.\d+)?) ?({_UNIT})(?![a-z0-9])")
_IN_ONE = re.compile(r"\d+[ -]?in[ -]\d")  # "3 in 1" has no inch
TOLERANCE, APART = 0.01, 0.05
"""Relative difference up to which two quantities are equal (15.6 in is 39.6 cm), and above which they are different.
Between the two it is undecided: a bottle of 30 ml is sold as 1 fl oz."""


def quantities(text: str) -> list[Quantity]:
    """Every single number with a unit in a text, in order. Ranges are left out, and sizes such as 8x10 are in `sides`.

    >>> quantities("16 GB RAM, 15.6\\" screen")
    [Quantity(value=16.0, dimension='data'), Quantity(value=396.24, dimension='length')]
    """
    plain = _plain(text)
    found = [(m.start(), Quantity(float(m[1]), "count")) for m in _OF.finditer(plain)]
    left = plain
    for pattern in (_SIDES, _RANGE, _IN_ONE):
        left = pattern.sub(lambda m: " " * len(m[0]), left)
    for m in _MEASURE.finditer(left):
        found.append((m.start(), in_base(_number(m[1]), _ALL[m[2]])))
    return [quantity for _, quantity in sorted(found)]


class Sides(NamedTuple):
    """The sides of a size, sorted: in mm if a unit of length is written, else as written."""

    numbers: tuple[float, ...]
    unit: str


def sides(text: str) -> list[Sides]:
    """Sizes by sides: `8x10 inch` -> `[Sides((203.2, 254.0), "in")]`, `8x10` -> `[Sides((8.0, 10.0), "")]`."""
    found = []
    for m in _SIDES.finditer(_plain(text)):
        unit = _ALL.get(m[4] or "", "") or ("in" if '"' in m[0] else "")
        length = unit if unit and UNITS[unit][0] == "length" else ""
        factor = UNITS[length][1] if length else 1
        found.append(Sides(tuple(sorted(float(n) * factor for n in m.groups()[:3] if n)), length))
    return found


def same_sides(a: Sides, b: Sides) -> bool:
    """Whether two sizes are equal within TOLERANCE. If only one has a unit, the other is taken to have the same."""
    if len(a.numbers) != len(b.numbers):
        return False
    units = {side.unit for side in (a, b) if side.unit}
    factor = UNITS[next(iter(units))][1] if len(units) == 1 else 1
    left, right = ([n * (1 if side.unit else factor) for n in side.numbers] for side in (a, b))
    return all(map(_near, left, right))


def in_base(value: float, unit: str) -> Quantity:
    """`(15.6, "in")` -> 396.24 of length. Raises KeyError for a unit that is not in UNITS."""
    dimension, factor = UNITS[unit]
    return Quantity(value * factor, dimension)


def same(a: Quantity, b: Quantity) -> bool:
    """Whether two quantities are equal within TOLERANCE. An ounce is compared as mass and as volume."""
    return any(x.dimension == y.dimension and _near(x.value, y.value) for x in meanings(a) for y in meanings(b))


def apart(a: Quantity, b: Quantity) -> bool:
    """Whether two quantities have one dimension and clearly different amounts, in every interpretation."""
    both = [(x.value, y.value) for x in meanings(a) for y in meanings(b) if x.dimension == y.dimension]
    return bool(both) and not any(math.isclose(x, y, rel_tol=APART) for x, y in both)


def comparable(a: Quantity, b: Quantity) -> bool:
    """Whether two quantities have one dimension, so that they can be compared."""
    return bool({x.dimension for x in meanings(a)} & {y.dimension for y in meanings(b)})


def meanings(quantity: Quantity) -> list[Quantity]:
    """The quantity; an ounce both as mass and as volume."""
    if quantity.dimension != "ounce":
        return [quantity]
    return [quantity, *(Quantity(quantity.value * factor, dimension) for dimension, factor in OUNCE.items())]


def _near(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=TOLERANCE)


def _plain(text: str) -> str:
    return fold(text).casefold().replace("”", '"').replace("“", '"').replace("″", '"').replace("’’", '"')


def _number(text: str) -> float:
    """`1,299.5`, `1/2`, `5 1/2`, `5-1/2`."""
    whole, _, fraction = text.replace(",", "").replace(" - ", " ").replace("-", " ").rpartition(" ")
    if "/" not in text:
        return float(text.replace(",", ""))
    above, below = fraction.split("/")
    return float(whole or 0) + (float(above) / float(below) if float(below) else 0.0)
