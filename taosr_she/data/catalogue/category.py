"""The kind of product: same as asked or an accessory of it, where the catalogue's own words decide; else None.

- By the typed kind (`types` of the domain, and the end of the category path): `same` where it ends with what is
  asked ("kids digital camera" for "digital camera"), `accessory` where it holds it and ends with an accessory.
- By the first part of the title: `same` where it ends with what is asked ("HP Wireless Mouse, Black") and the title
  names no accessory and no service; `accessory` where it ends with one right behind what is asked ("WetEx Keyboard
  Cover"), or "for" it ("Leather Case for iPhone XR").

"Related" and "other" take knowledge of the world (a headset is nearly a headphone), so they are never decided here.
"""

import re

from taosr_she.data.catalogue.decide import ACCESSORIES, NEGATIONS, Offer, kinds_of, position
from taosr_she.data.catalogue.requirement import PRODUCT_TYPE, Reading
from taosr_she.data.teachers.words import forms, words

SAME, ACCESSORY = "same", "accessory"
_PART_ENDS = re.compile(r"\s[-–|/]\s|[,;|:()]|\s(?:with|in|and|by|w/|without)(?=\s)", re.IGNORECASE)
_FOR = re.compile(r"\b(?:for|fits|fit|compatible with)\b", re.IGNORECASE)
_SERVICES = {"svc", "service", "services", "warranty", "license", "licence", "subscription", "repair"}
_BESIDE = {"kit", "cleaner", "cleaning", "cleansing", "spare", "replacement"}
"""Words of titles that are about the thing and perhaps not the thing."""


def decide_category(asked: Reading, offer: Offer) -> str | None:
    """`same`, `accessory`, or None where the catalogue does not settle it; see the module's table."""
    terms = wanted(asked)
    if not terms:
        return None
    for kind in kinds_of(offer.product, offer.spec):
        if position(terms, kind[-len(terms) :]) == 0:
            # A screen protector may have the type of what it is for.
            return SAME if _accessory(terms[-1]) or not any(map(_accessory, offer.title)) else None
        if _accessory(kind[-1]) and position(terms, kind[:-1]) is not None:
            return ACCESSORY
    return _by_title(terms, offer)


def wanted(asked: Reading) -> list[str]:
    """The words for what is asked: the one product type, or, in a query without any, the one model. Else none."""
    for kind in (PRODUCT_TYPE, "model"):
        named = [words(r.text) for r in asked if r.kind == kind]
        if named:
            return named[0] if len(named) == 1 and not NEGATIONS & set(named[0]) else []
    return []


def likely_category(asked: Reading, offer: Offer) -> str | None:
    """A guess for demonstrations, never a verdict: where the title holds the last word of what is asked, `accessory` if
    it also names one, else `same`."""
    terms = wanted(asked)
    if not terms or position(terms[-1:], offer.title) is None:
        return None
    return ACCESSORY if any(map(_accessory, offer.title)) and not _accessory(terms[-1]) else SAME


def _by_title(terms: list[str], offer: Offer) -> str | None:
    first = _PART_ENDS.split(offer.product.title, maxsplit=1)[0]
    head, *rest = [words(part) for part in _FOR.split(first, maxsplit=1)]
    if not head or _SERVICES & set(offer.title):
        return None
    if _accessory(terms[-1]):  # of two accessories nobody knows which one serves the other ("case for AirPods charger")
        return SAME if position(terms, head[-len(terms) :]) == 0 else None
    if _accessory(head[-1]):
        asked = rest[0] if rest else head[:-1][-len(terms) :]
        return ACCESSORY if position(terms, asked) == 0 or position(terms, asked[1:]) == 0 else None
    others = any(_accessory(word) or word in _BESIDE for word in offer.title)
    return SAME if position(terms, head[-len(terms) :]) == 0 and not others else None


def _accessory(word: str) -> bool:
    return bool(forms(word) & ACCESSORIES)
