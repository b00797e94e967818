"""Match, conflict or unstated if the catalogue decides it; None (undecided) otherwise.

- brand: `match` if the brand field (without one, the title) equals it or begins with it; `conflict` if the field
  names another brand, the catalogue knows the requested one, and nothing mentions it; `unstated` without a brand field.
- color: `match` by the color field or, without one, by the title; `conflict` if field and title name only plain
  colors and none is similar to the requested one; `unstated` if no color is named anywhere.
- size, quantity: `match` with an equal amount in title or typed attributes; `conflict` if these name exactly one other
  amount of that dimension and nothing names the requested one; `unstated` if no amount of that dimension is named.
- price: `match` within the limit, `conflict` above it, `unstated` without a price.
- for: `match` if title or description name these people, `conflict` if the title names only others,
  `unstated` if no people are named.
- model: `match` if the title begins with it (after the brand) and names no accessory.
- all others: `match` with a typed attribute of that value, a typed yes with that name, or the exact words in the title;
  `conflict` with a typed no with that name. Other words may mean the same, so nothing is `unstated`.

Negations ("without", "not") are never decided, because they are worded in too many ways. The description alone decides
nothing either, because it also mentions other products; but it is read before a verdict of `unstated` or `conflict`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property

from taosr_she.data.catalogue.colors import apart, only_plain, plain_colors
from taosr_she.data.catalogue.quantities import (
    Quantity,
    comparable,
    in_base,
    quantities,
    same,
    same_sides,
    sides,
)
from taosr_she.data.catalogue.quantities import apart as apart_amounts
from taosr_she.data.catalogue.requirement import Requirement
from taosr_she.data.teachers.words import forms, singular, words
from taosr_she.domain.domain import CatalogueSpec
from taosr_she.domain.pair import Product

MATCH, CONFLICT, UNSTATED = "match", "conflict", "unstated"
VERDICTS = (MATCH, CONFLICT, UNSTATED)
NEGATIONS = {"without", "not", "no", "non", "free", "except", "less", "anti"}
ACCESSORIES = {
    "accessory", "adapter", "armband", "bag", "band", "battery", "bracket", "cable", "case", "charger",
    "cord", "cover", "cradle", "dock", "film", "folio", "grip", "holder", "holster", "lens", "liner", "manual", "mount",
    "pad", "part", "pouch", "protector", "rack", "refill", "remote", "screen", "shell", "skin", "sleeve", "stand",
    "sticker", "tray", "tripod",
}  # fmt: skip
"""Words for what is sold as an addition to another product: a "laptop bag" is not a laptop."""
LICENSORS = {
    "amazon", "dc", "disney", "ikea", "lego", "marvel", "mlb", "nba", "ncaa", "nfl", "nhl", "nintendo", "pixar",
    "pokemon", "sanrio", "starwars", "target", "walmart", "warnerbros",
}  # fmt: skip
"""Brands on products of other makers, or shops: another brand in the brand field does not conflict with them."""
PEOPLE = {
    "women": "women", "womens": "women", "woman": "women", "ladies": "women", "lady": "women", "female": "women",
    "men": "men", "mens": "men", "man": "men", "male": "men", "guys": "men", "gentlemen": "men",
    "kids": "kids", "kid": "kids", "children": "kids", "childrens": "kids", "child": "kids", "youth": "kids",
    "girls": "girls", "girl": "girls", "boys": "boys", "boy": "boys",
    "toddler": "toddlers", "toddlers": "toddlers", "baby": "babies", "babies": "babies", "infant": "babies",
    "newborn": "babies", "adult": "adults", "adults": "adults", "teen": "teens", "teens": "teens", "unisex": "unisex",
}  # fmt: skip
"""Words for people -> the group that they mean."""
_SIZES = {"small", "medium", "large", "xl", "xxl", "twin", "full", "queen", "king"}
_UNREAL = NEGATIONS | {
    "faux",
    "fake",
    "imitation",
    "artificial",
    "like",
    "look",
    "style",
    "flavored",
    "scented",
    "inspired",
}
"""Next to a word, these mean that the product only resembles it or lacks it: "faux leather"."""
_APART = ({"women", "girls"}, {"men", "boys"})
_LIMIT = re.compile(r"(?:under|below|less than|max|up to)\s*[$€£]?\s*(\d+(?:\.\d+)?)")
_TYPED_ROLES = re.compile(r"\b(?:ram|ddr\d?|ssd|hdd|emmc|laptop|notebook|desktop|phone|tablet)\b")
MANY = 3
"""A title with this many amounts of a dimension lists options: it does not say which one this product has."""
TYPO = 0.8
"""Similarity from which two names may be one name misspelt."""


@dataclass(frozen=True)
class Catalogue:
    """Knowledge beyond the single product: the brands of the shop, and how to read its typed attributes."""

    spec: CatalogueSpec
    brands: frozenset[str]
    kinds: frozenset[str] = frozenset()
    """`folded` endings of typed kinds, such as "digital camera" of "kids digital camera"."""

    @classmethod
    def of(cls, spec: CatalogueSpec, products: Sequence[Product]) -> "Catalogue":
        """From all available products of the shop."""
        brands = frozenset(name for p in products if (name := joined(p.brand)))
        kinds = [kind for p in products for kind in kinds_of(p, spec)]
        return cls(spec, brands, frozenset(folded(" ".join(kind[n:])) for kind in kinds for n in range(len(kind))))


class Offer:
    """A product as words and amounts."""

    def __init__(self, product: Product, spec: CatalogueSpec) -> None:
        self.product, self.spec = product, spec
        self.title = words(product.title)

    @cached_property
    def description(self) -> list[str]:
        return words(self.product.description)

    @cached_property
    def values(self) -> list[tuple[str, str]]:
        """Typed attributes except those of color: (name, value), lower case."""
        listed = self.product.attributes.items()
        return [(n.casefold(), v.casefold()) for n, v in listed if n not in self.spec.colors]

    @cached_property
    def everything(self) -> list[str]:
        """All words, including brand, attributes and description."""
        typed = [w for item in self.product.attributes.items() for w in words(" ".join(item))]
        return [*self.title, *words(self.product.brand), *words(self.product.category), *typed, *self.description]

    @cached_property
    def color(self) -> str:
        return " ; ".join(v for n in self.spec.colors if (v := self.product.attributes.get(n, "")))

    @cached_property
    def typed(self) -> list[Quantity]:
        """Amounts in typed attributes. A bare number has the unit of its attribute; others have their own."""
        found = []
        for name, value in self.product.attributes.items():
            unit = self.spec.units.get(name)
            number = re.fullmatch(r"\d+(?:\.\d+)?", value.strip())
            found += [in_base(float(value), unit)] if unit and number else quantities(value) if not number else []
        return found


def decide(asked: Requirement, offer: Offer, catalogue: Catalogue) -> str | None:
    """`match`, `conflict`, `unstated`, or None if the catalogue does not decide it; see the top of this file."""
    terms = words(asked.text)
    if not terms or NEGATIONS & set(terms):
        return None
    return _RULES.get(asked.kind, _literal)(asked.text, terms, offer, catalogue)


def kinds_of(product: Product, spec: CatalogueSpec) -> list[list[str]]:
    """The catalogue's kinds of the product, as words: its typed kinds, and the last part of the category path."""
    named = [product.attributes.get(name, "") for name in spec.types]
    named.append(product.category.replace("/", ">").split(">")[-1])
    return [found for text in named if (found := words(text))]


def folded(text: str) -> str:
    """A text as words without plurals and accents."""
    return " ".join(map(singular, words(text)))


def joined(name: str) -> str:
    """A name without spaces, punctuation and case: `"BLACK+DECKER"` and `"black & decker"` are one brand."""
    return "".join(words(name))


def position(terms: Sequence[str], text: Sequence[str]) -> int | None:
    """Positions at which the terms occur in a text in sequence; plurals and accents do not matter."""
    for start in range(len(text) - len(terms) + 1):
        if all(forms(a) & forms(b) for a, b in zip(terms, text[start:], strict=False)):
            return start
    return None


def mentions(terms: Sequence[str], text: Sequence[str]) -> bool:
    """Whether any of the terms is in the text, as a word or as part of a word."""
    whole = " ".join(text)
    return any(term in whole for term in terms if len(term) > 1) or "".join(terms) in whole.replace(" ", "")


def _brand(text: str, terms: list[str], offer: Offer, catalogue: Catalogue) -> str | None:
    asked, own = joined(text), joined(offer.product.brand)
    if own and (own == asked or position(terms, words(offer.product.brand)[: len(terms)]) == 0):
        return MATCH
    if not own and position(terms, offer.title[: len(terms)]) == 0:
        return MATCH
    if mentions(terms, offer.everything):
        return None
    if not own:
        return UNSTATED
    if asked in catalogue.brands - LICENSORS and SequenceMatcher(None, asked, own).ratio() < TYPO:
        return CONFLICT
    return None


def _color(text: str, terms: list[str], offer: Offer, catalogue: Catalogue) -> str | None:
    wanted, named = plain_colors(text), plain_colors(offer.color)
    if offer.color:
        if position(terms, words(offer.color)) is not None or (only_plain(text) and wanted <= named):
            return MATCH
        plain = only_plain(text) and only_plain(offer.color)
        mentioned = plain_colors(offer.product.title)
        return CONFLICT if plain and apart(wanted, named) and (not mentioned or apart(wanted, mentioned)) else None
    if position(terms, offer.title) is not None:
        return MATCH
    every = " ".join(offer.everything)
    return UNSTATED if not plain_colors(every) and not mentions(terms, offer.everything) else None


def _size(text: str, terms: list[str], offer: Offer, catalogue: Catalogue) -> str | None:
    shapes, amounts = sides(text), quantities(text)
    if shapes:
        offered = sides(offer.product.title) + [s for _, v in offer.values for s in sides(v)]
        if any(same_sides(shapes[0], other) for other in offered):
            return MATCH
        return None  # 16x20 may be the frame around an 11x14 picture
    if len(amounts) != 1 or len(re.findall(r"\d+(?:[.,/]\d+)*", text)) != 1:  # "7l 2.0" is a name
        return _literal(text, terms, offer, catalogue)
    return _amount(amounts[0], offer)


def _quantity(text: str, terms: list[str], offer: Offer, catalogue: Catalogue) -> str | None:
    amounts = quantities(text)
    if not amounts and re.fullmatch(r"\d+x?", text):
        amounts = [in_base(float(text.rstrip("x")), "count")]
    if len(amounts) != 1:
        return _literal(text, terms, offer, catalogue)
    found = _amount(amounts[0], offer)
    bare = f"{amounts[0].value:g}" in offer.everything  # "4 paddles" may be the requested 4 pack
    return found if found == MATCH or not bare else None


def _amount(asked: Quantity, offer: Offer) -> str | None:
    product = offer.product
    near = [q for q in [*quantities(product.title), *offer.typed] if comparable(asked, q)]
    if any(same(asked, q) for q in near):
        listed = {round(q.value, 6) for q in quantities(product.title) if comparable(asked, q)}
        return MATCH if len(listed) < MANY or any(same(asked, q) for q in offer.typed) else None
    far = [q for q in quantities(product.description) if comparable(asked, q)]
    if not near and not far:
        flat = sides(product.title) + sides(product.description)
        return UNSTATED if not (flat and asked.dimension == "length") else None
    if asked.dimension == "data" and _TYPED_ROLES.search(product.title.casefold()):
        return None  # memory or storage: the query does not say which
    differ = near and all(same(near[0], q) for q in near) and apart_amounts(asked, near[0])
    differ = differ and not any(same(asked, q) for q in far)
    return CONFLICT if differ and not sides(product.title) else None


def _price(text: str, terms: list[str], offer: Offer, catalogue: Catalogue) -> str | None:
    limit = _LIMIT.search(text)
    if limit is None:
        return None
    price = offer.product.price
    if price is None:
        return UNSTATED
    return MATCH if price <= float(limit[1]) else CONFLICT


def _people(text: str, terms: list[str], offer: Offer, catalogue: Catalogue) -> str | None:
    asked = {PEOPLE[t] for t in terms if t in PEOPLE}
    if len(asked) != 1 or any(t not in PEOPLE for t in terms):
        return MATCH if position(terms, offer.title) is not None else None  # "ages 2-4"
    titled = {PEOPLE[w] for w in offer.title if w in PEOPLE}
    people = titled | {PEOPLE[w] for w in offer.everything if w in PEOPLE}
    if asked & people:
        return MATCH
    if titled and any(asked <= a and titled <= b for a in _APART for b in _APART if a is not b):
        return CONFLICT if people == titled else None
    return UNSTATED if not people else None


def _model(text: str, terms: list[str], offer: Offer, catalogue: Catalogue) -> str | None:
    start = position(terms, offer.title)
    before = [] if start is None else offer.title[:start]
    own = words(offer.product.brand)
    if start is None or any(not any(forms(w) & forms(b) for b in own) for w in before):
        return None
    return MATCH if not any(forms(w) & ACCESSORIES for w in offer.title) and "for" not in offer.title else None


def _literal(text: str, terms: list[str], offer: Offer, catalogue: Catalogue) -> str | None:
    for name, value in offer.values:
        if value in ("true", "false") and words(name) == terms:
            return MATCH if value == "true" else CONFLICT
        if any(words(part) == terms for part in re.split(r"[,;/+&]|\\n", value)):
            return MATCH
    if _SIZES & set(terms) and _SIZES & (set(offer.title) - set(terms)):
        return None  # "for small, medium and large dogs": the size of this product is not stated
    # Exactly the requested words: "rings" often do not mean the shape "ring".
    size = len(terms)
    exact = [n for n in range(len(offer.title)) if offer.title[n : n + size] == terms]
    literal = [
        n for n in exact if not _UNREAL & {*offer.title[max(0, n - 1) : n], *offer.title[n + size : n + size + 1]}
    ]
    return MATCH if literal else None


_RULES: dict[str, Callable[[str, list[str], Offer, Catalogue], str | None]] = {
    "brand": _brand, "color": _color, "size": _size, "quantity": _quantity, "price": _price, "for": _people,
    "model": _model,
}  # fmt: skip
