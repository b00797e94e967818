"""A shopper's text as comparable words: handles case, accents, plurals, units, and scripts without spaces.

Words returned by this module contain only letters, digits and their diacritics, and `.` `,` `/` inside a number. So
they can never act as structure in a response.
"""

import re
import unicodedata
from functools import lru_cache

from taosr_she.domain.prompt import neutralise

MAX_WORD_CHARS = 24
"""Longer words are cut, because Thai writes a whole query as one word and a demonstration must stay short."""

# Small on purpose: a word dropped here can never be a requirement. "without", "no" and "sin" stay in.
_ENGLISH = {
    "a", "an", "the", "of", "for", "and", "or", "with", "in", "on", "at", "to", "by", "from", "my", "your", "its",
    "is", "are", "that", "this",
}  # fmt: skip
_SPANISH = {
    "de", "del", "la", "el", "los", "las", "un", "una", "unos", "unas", "y", "o", "para", "con", "en", "por", "al",
    "que", "su",
}  # fmt: skip

_UNITS = {
    "mm": "mm", "cm": "cm", "m": "m", "km": "km", "inch": "inch", "inches": "inch", "ft": "ft", "foot": "ft",
    "feet": "ft", "yd": "yd", "yards": "yd", "ml": "ml", "cl": "cl", "l": "l", "liter": "l", "liters": "l",
    "litre": "l", "litres": "l", "litro": "l", "litros": "l", "gal": "gallon", "gallon": "gallon",
    "gallons": "gallon", "mg": "mg", "g": "g", "kg": "kg", "oz": "oz", "ounce": "oz", "ounces": "oz", "lb": "lb",
    "lbs": "lb", "pound": "lb", "pounds": "lb", "w": "w", "watt": "w", "watts": "w", "v": "v", "volt": "v",
    "volts": "v", "mah": "mah", "gb": "gb", "tb": "tb", "mb": "mb", "cfm": "cfm", "psi": "psi", "pcs": "pcs",
    "pc": "pcs", "piece": "pcs", "pieces": "pcs", "pack": "pack", "packs": "pack",
}  # fmt: skip
_MEASURE = re.compile(rf"(?<![\w.,/])(\d+(?:[.,/]\d+)*) ?({'|'.join(sorted(_UNITS, key=len, reverse=True))})(?!\w)")
_NUMBER_MARK = re.compile(r"(?<=\d)[.,/](?=\d)")
_APOSTROPHES = str.maketrans("", "", "'’‘`´")

_HAN = "\u3005-\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_HIRAGANA, _KATAKANA = "\u3041-\u309f", "\u30a1-\u30ff"
_UNSPACED = re.compile(f"[{_HAN}{_HIRAGANA}{_KATAKANA}]")
# In Japanese, the script often changes where a word begins: 割れない|鏡, ふちなし|メガネ. Endings stay with their stem.
_RUNS = re.compile(f"[{_HAN}]+[{_HIRAGANA}]*|[{_KATAKANA}]+|[{_HIRAGANA}]+|[^{_HAN}{_HIRAGANA}{_KATAKANA}]+")
_PARTICLES = "のをはがにでとへ"


def words(text: str) -> list[str]:
    """The words of a text in order, lower case, stop words included: `"Women's 50-Feet Hoses"` -> womens 50ft hoses."""
    text = neutralise(text).casefold().translate(_APOSTROPHES)
    kept = [
        c if unicodedata.category(c)[0] in "LNM" or (c in ".,/" and _NUMBER_MARK.match(text, i)) else " "
        for i, c in enumerate(text)
    ]
    text = _MEASURE.sub(lambda m: m[1] + _UNITS[m[2]], " ".join("".join(kept).split()))
    found = []
    for chunk in text.split():
        for run in _RUNS.findall(chunk) if _UNSPACED.search(chunk) else [chunk]:
            word = _without_particle(run)[:MAX_WORD_CHARS].rstrip(".,/")
            if any(unicodedata.category(c)[0] in "LN" for c in word):
                found.append(word)
    return found


def is_spanish(locale: str) -> bool:
    """Whether a pair's locale ("es", "es-MX") is Spanish; other locales are read as English and Japanese."""
    return locale.casefold().startswith("es")


def terms(text: str, locale: str, most: int) -> list[str]:
    """The content words, each once, at most `most`; if all words are stop words of the language, those."""
    every = words(text)
    stop_words = _SPANISH if is_spanish(locale) else _ENGLISH  # not both: "la", "los" and "en" mean things in English
    kept: dict[frozenset[str], str] = {}
    for word in [w for w in every if w not in stop_words] or every:
        if not any(forms(word) & known for known in kept):
            kept[forms(word)] = word
    return list(kept.values())[:most]


@lru_cache(maxsize=65536)
def forms(word: str) -> frozenset[str]:
    """The forms of a word for comparison, without accents and plural s. Words are the same if they share a form.

    Sets instead of one stem: `tube` must differ from `tub`, but `botines` match `botín` and `dresses` match `dress`.
    """
    plain = _unaccented(word)
    found = {plain}
    if len(plain) > 3 and plain.isalpha() and plain.endswith("s") and not plain.endswith("ss"):
        found.add(plain[:-1])
        if plain.endswith("es") and len(plain) > 4:
            found.add(plain[:-2])
        if plain.endswith("ies"):
            found.add(plain[:-3] + "y")
    return frozenset(found)


def singular(word: str) -> str:
    """One form for a word and its plural, without accents. It is for keys, while `forms` is for comparisons.

    >>> [singular(word) for word in ("shoes", "dresses", "batteries", "glass")]
    ['shoe', 'dress', 'battery', 'glass']
    """
    plain = _unaccented(word)
    if len(plain) <= 3 or not plain.isalpha() or not plain.endswith("s") or plain.endswith("ss"):
        return plain
    if plain.endswith("ies") and len(plain) > 5:
        return plain[:-3] + "y"
    return plain[:-2] if plain.endswith(("sses", "xes", "ches", "shes", "zes")) else plain[:-1]


class Vocabulary:
    """The words of a text, which can be searched for a term."""

    def __init__(self, text: str) -> None:
        self.words = words(text)
        self._forms: dict[str, str] = {}
        for word in self.words:
            for form in forms(word):
                self._forms.setdefault(form, word)
        self._joined = " ".join(self.words)

    def find(self, term: str) -> str | None:
        """The first word that matches the term; in a script without spaces, a term may be part of a longer word."""
        if _UNSPACED.search(term):
            return term if term in self._joined else None
        return next((self._forms[form] for form in sorted(forms(term)) if form in self._forms), None)


def _without_particle(run: str) -> str:
    """`鏡の` -> `鏡`; a single kana (a particle, a prefix) -> nothing. `こども` does not end in a particle."""
    if re.fullmatch(f"[{_HIRAGANA}]", run):
        return ""
    return run[:-1] if len(run) > 1 and run[-1] in _PARTICLES and re.match(f"[{_HAN}]", run) else run


def _unaccented(word: str) -> str:
    # Latin accents only: the marks of other scripts (Japanese voicing, Thai vowels) make different words.
    return unicodedata.normalize("NFC", re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFD", word)))
