"""Parsing of prices in the formats that shops use."""

import math
import re
import unicodedata
from typing import Any

_GROUP = "[ \u00a0\u2009\u202f'’]"  # thousands separators besides comma and point
# The first matching form is used; each names its thousands separator and its decimal separator.
_FORMS: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(form), thousands, decimal)
    for form, thousands, decimal in (
        (r"\d+(\.\d*)?([eE][-+]?\d+)?|\.\d+", "", "."),  # 1299.5; 1.299 is a little over one, as in any number column
        (r"[1-9]\d{0,2}(,\d{3})+(\.\d*)?", ",", "."),  # 1,299.50; and 1,299 is over a thousand
        (r"[1-9]\d{0,2}(\.\d{3})+,\d+|[1-9]\d{0,2}(\.\d{3}){2,}", r"\.", ","),  # 1.299,50
        (rf"[1-9]\d{{0,2}}({_GROUP}\d{{3}})+(\.\d+)?", _GROUP, "."),  # 1'299.50
        (rf"[1-9]\d{{0,2}}({_GROUP}\d{{3}})+,\d+", _GROUP, ","),  # 1 299,50
        (r"\d+,\d+", "", ","),  # 12,99; and 0,999, where the comma cannot separate thousands
    )
)
_CODE = re.compile(r"^([A-Z]{3}(?=[\s\d.])|[A-Z]{1,3}(?=\$))|(?<=[\s\d.,-])[A-Z]{3}$")  # EUR 12.50, US$12, 12.50 EUR
_NO_CENTS = re.compile(r"([.,])[-–—]+$")  # 12,-


def read_price(value: Any) -> float | None:
    """A price from a number or text: None if there is none, NaN if it cannot be read or is negative."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    price = math.nan
    if isinstance(value, str):
        price = _from_text(value)
    elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300:
        price = float(value)
    return price if math.isfinite(price) and price >= 0 else math.nan


def _from_text(text: str) -> float:
    number = _NO_CENTS.sub(r"\g<1>00", _bare(_CODE.sub("", _bare(text))))
    for form, thousands, decimal in _FORMS:
        if form.fullmatch(number):
            return float(re.sub(thousands, "", number).replace(decimal, "."))
    return math.nan


def _bare(text: str) -> str:
    """Without currency signs and white space around it."""
    start, end = 0, len(text)
    while start < end and _around(text[start]):
        start += 1
    while start < end and _around(text[end - 1]):
        end -= 1
    return text[start:end]


def _around(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) == "Sc"
