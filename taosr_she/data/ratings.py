"""Ratings of search tools and the grades of a domain: which number stands for which code."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from taosr_she.base.errors import UserError
from taosr_she.data.columns import shown_names
from taosr_she.domain.domain import Domain

CODES = "codes"
"""Value of the option `--ratings` for files that contain the codes themselves."""
_NEAR = 0.005  # 0.33 is a third


@dataclass(frozen=True)
class Ratings:
    """A scale of numbers for the grades of a domain."""

    domain: Domain
    numbers: Mapping[float, str]  # rating -> code; several ratings may mean one grade

    @property
    def shown(self) -> str:
        """As for the option `--ratings`, best first.

        >>> from taosr_she.domain.domain import load_domain
        >>> ratings(load_domain("esci")).shown, ratings(load_domain("esci"), unit=True).shown
        ('3=E,2=S,1=C,0=I', '1=E,0.6667=S,0.3333=C,0=I')
        """
        return ",".join(f"{number:g}={code}" for number, code in sorted(self.numbers.items(), reverse=True))

    def code(self, text: str) -> str | None:
        """The code for a rating; None for a number that is not on the scale. ValueError for text that is no number.

        >>> from taosr_she.domain.domain import load_domain
        >>> ratings(load_domain("esci"), unit=True).code("0.67")
        'S'
        """
        found = float(text)
        if math.isnan(found):
            raise ValueError("no number")
        near = min(self.numbers, key=lambda number: abs(number - found))
        return self.numbers[near] if abs(near - found) <= _NEAR else None

    def rating(self, code: str) -> float:
        """The number for a code; the best one, if there are several."""
        return max(number for number, known in self.numbers.items() if known == code)


def ratings(domain: Domain, asked: str | None = None, unit: bool = False) -> Ratings:
    """The scale that the option `--ratings` describes: `3=E,2=S,1=C,0=I`, or `codes`, or None.

    Without it, the worst grade is 0 and each better one is 1 more, because search tools take 0 as not relevant; with
    `unit`, for tools with ratings between 0 and 1, these numbers are divided by the largest. UserError if the text is
    not such a list or leaves out a grade, and for `codes` if the codes are not numbers.
    """
    codes = domain.codes
    if asked is None:
        best = len(codes) - 1
        return Ratings(domain, {round((best - i) / (best if unit else 1), 4): code for i, code in enumerate(codes)})
    numbers: dict[float, str] = {}
    for entry in [f"{code}={code}" for code in codes] if asked == CODES else asked.split(","):
        number, _, code = (part.strip() for part in entry.partition("="))
        try:
            found = float(number)
        except ValueError:
            found = float("nan")
        if not abs(found) < 1e9 or code not in codes:
            raise UserError(
                f"--ratings {asked}: '{entry}' is not NUMBER=CODE with a code of {domain.name} ({', '.join(codes)}); "
                f"expected e.g. {ratings(domain).shown}"
            )
        if numbers.setdefault(found, code) != code or any(0 < abs(n - found) <= 2 * _NEAR for n in numbers):
            raise UserError(f"--ratings {asked}: {number} means two grades, or nearly so; name each number once")
    if missing := [code for code in codes if code not in numbers.values()]:
        raise UserError(f"--ratings {asked}: has no rating for {shown_names(missing)}")
    return Ratings(domain, numbers)
