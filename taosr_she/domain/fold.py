"""One folding of what people write. The prompt shows folded text, and texts that fold alike are one query."""

import unicodedata

_OPENING = "[⁅❲⟦⟬⦋⦍⦏⦗⹕⹗【〔〖〘〚"
_CLOSING = "]⁆❳⟧⟭⦌⦎⦐⦘⹖⹘】〕〗〙〛"
_BRACKETS = str.maketrans(_OPENING + _CLOSING, "(" * len(_OPENING) + ")" * len(_CLOSING))


def fold(text: str) -> str:
    """The text on one line, in one form of Unicode.

    Square brackets of any script become round ones, line breaks and runs of white space one space; control, format and
    unassigned characters vanish (they hide text from readers and filters). Compatibility forms are folded (NFKC).
    """
    if not (text.isascii() and text.isprintable()):
        text = "".join(c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.translate(_BRACKETS).split())


def fold_case(text: str) -> str:
    """`fold` without differences of case."""
    return fold(fold(text).casefold())
