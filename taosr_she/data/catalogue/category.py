"""The kind of product: `same` as the requested one or an `accessory` of it, if the catalogue decides it; else None.

- By the typed kind (`types` of the domain, and the last part of the category path): `same` if it ends with the
  requested kind ("kids digital camera" for "digital camera"), `accessory` if it contains it and ends with an accessory.
- By the first part of the title: `same` if it ends with the requested kind ("HP Wireless Mouse, Black") and the title
  names no accessory and no service; `accessory` if an accessory follows the requested kind directly ("WetEx Keyboard
  Cover") or comes before "for" and the requested kind ("Leather Case for iPhone XR").

"Related" and "other" need knowledge of the world (a headset is nearly a headphone), so they are never decided here.
"""

import re

from taosr_she.data.catalogue.decide import ACCESSORIES, NEGATIONS, Offer, kinds_of, position
from taosr_she.data.catalogue.requirement import PRODUCT_TYPE, Reading
from taosr_she.data.teachers.words import forms, words

SAME, ACCESSORY, OTHER = "same", "accessory", "other"
_PART_ENDS = re.compile(r"\s[-–|/]\s|[,;|:()]|\s(?:with|in|and|by|w/|without)(?=\s)", re.IGNORECASE)
_FOR = re.compile(r"\b(?:for|fits|fit|compatible with)\b", re.IGNORECASE)
_SERVICES = {"svc", "service", "services", "warranty", "license", "licence", "subscription", "repair"}
_BESIDE = {"kit", "cleaner", "cleaning", "cleansing", "spare", "replacement"}
"""Words in titles of cleaners, spare parts and the like: they may name the requested kind without being it."""


def decide_category(asked: Reading, offer: Offer) -> str | None:
    """`same`, `accessory`, or None if the catalogue does not decide it; see the table at the top of this file."""
    terms = wanted(asked)
    if not terms:
        return None
    for kind in kinds_of(offer.product, offer.spec):
        if position(terms, kind[-len(terms) :]) == 0:
            # A screen protector may have the type of the product it protects.
            return SAME if _accessory(terms[-1]) or not any(map(_accessory, offer.title)) else None
        if _accessory(kind[-1]) and position(terms, kind[:-1]) is not None:
            return ACCESSORY
    return _by_title(terms, offer)


def wanted(asked: Reading) -> list[str]:
    """The requested kind as words: the one product type or, without any, the one model. Empty if there are several."""
    for kind in (PRODUCT_TYPE, "model"):
        named = [words(r.text) for r in asked if r.kind == kind]
        if named:
            return named[0] if len(named) == 1 and not NEGATIONS & set(named[0]) else []
    return []


def likely_category(asked: Reading, offer: Offer) -> str | None:
    """A guess for demonstrations, never a verdict: if the title contains the last word of the requested kind, it is
    `accessory` if the title also names one, else `same`."""
    terms = wanted(asked)
    if not terms or position(terms[-1:], offer.title) is None:
        return None
    return ACCESSORY if any(map(_accessory, offer.title)) and not _accessory(terms[-1]) else SAME


def category_by_words(query: str, asked: Reading, offer: Offer) -> str:
    """A guess from the words alone where `likely_category` has none: `other`. If a query has not one kind ("dell"), it
    is `same` if title or brand contain its last word."""
    text = [*offer.title, *words(offer.product.brand)]
    ends = words(query)[-1:]
    return SAME if not wanted(asked) and ends and position(ends, text) is not None else OTHER


def _by_title(terms: list[str], offer: Offer) -> str | None:
    first = _PART_ENDS.split(offer.product.title, maxsplit=1)[0]
    head, *rest = [words(part) for part in _FOR.split(first, maxsplit=1)]
    if not head or _SERVICES & set(offer.title):
        return None
    if _accessory(terms[-1]):  # between two accessories, the direction is unclear ("case for AirPods charger")
        return SAME if position(terms, head[-len(terms) :]) == 0 else None
    if _accessory(head[-1]):
        asked = rest[0] if rest else head[:-1][-len(terms) :]
        return ACCESSORY if position(terms, asked) == 0 or position(terms, asked[1:]) == 0 else None
    others = any(_accessory(word) or word in _BESIDE for word in offer.title)
    return SAME if position(terms, head[-len(terms) :]) == 0 and not others else None


def _accessory(word: str) -> bool:
    return bool(forms(word) & ACCESSORIES)
