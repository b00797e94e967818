"""The plain colors, and which of them a text names. Shades ("coral", "gunmetal") are not listed, because their limits
are not defined."""

from taosr_she.data.teachers.words import forms, words

_SAME = {
    "grey": "gray", "golden": "gold", "violet": "purple", "multicolor": "multi", "multicolour": "multi",
    "multicolored": "multi", "multicoloured": "multi", "colorful": "multi", "rainbow": "multi",
}  # fmt: skip
PLAIN = {
    "black", "white", "gray", "silver", "red", "blue", "green", "yellow", "orange", "pink", "purple", "brown", "gold",
    "beige", "multi",
}  # fmt: skip
# The colors of a group are so similar that a shop may use any of them for a product.
_NEAR = (
    {"gray", "silver", "black"}, {"gray", "silver", "white"}, {"gold", "yellow", "beige"}, {"gold", "brown"},
    {"beige", "white"}, {"beige", "brown"}, {"red", "pink"}, {"red", "orange"}, {"red", "brown"}, {"orange", "brown"},
    {"orange", "yellow"}, {"pink", "purple"}, {"blue", "purple"}, {"blue", "green"}, {"red", "purple"},
)  # fmt: skip


def plain_colors(text: str) -> set[str]:
    """The plain colors that a text names: `"Navy Blue/White"` -> `{"blue", "white"}`."""
    found = set()
    for word in words(text):
        for form in forms(word):
            color = _SAME.get(form, form)
            if color in PLAIN:
                found.add(color)
    return found


def only_plain(text: str) -> bool:
    """Whether a text consists of plain colors only, so that it describes the color completely."""
    every = [w for w in words(text) if w not in ("and", "dark", "light", "bright", "matte", "with")]
    return bool(every) and all(any(_SAME.get(f, f) in PLAIN for f in forms(w)) for w in every)


def apart(asked: set[str], offered: set[str]) -> bool:
    """Whether no color of one set is similar to any of the other."""
    if "multi" in asked | offered:
        return False
    return all(a != b and not any({a, b} <= group for group in _NEAR) for a in asked for b in offered)
