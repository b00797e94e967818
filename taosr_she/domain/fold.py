"""One folding of what people write. The prompt shows folded text, and texts that fold alike are one query."""

import unicodedata
from functools import lru_cache

_OPENING = "[⁅❲⟦⟬⦋⦍⦏⦗⹕⹗【〔〖〘〚"
_CLOSING = "]⁆❳⟧⟭⦌⦎⦐⦘⹖⹘】〕〗〙〛"
_BRACKETS = str.maketrans(_OPENING + _CLOSING, "(" * len(_OPENING) + ")" * len(_CLOSING))
_ASCII_CONTROLS = dict.fromkeys(code for code in (*range(32), 127) if not chr(code).isspace())


def fold(text: str) -> str:
    """The text on one line, in one form of Unicode.

    Square brackets of any script become round ones, line breaks and runs of white space one space; control, format and
    unassigned characters vanish (they hide text from readers and filters). Compatibility forms are folded (NFKC).
    """
    if text.isascii():  # by far the commonest, and NFKC leaves it as it is
        if not text.isprintable():
            text = text.translate(_ASCII_CONTROLS)
        return " ".join(text.replace("[", "(").replace("]", ")").split())
    if not text.isprintable():
        text = "".join(c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    return " ".join(unicodedata.normalize("NFKC", text).translate(_BRACKETS).split())


@lru_cache(maxsize=65536)
def fold_case(text: str) -> str:
    """`fold` without differences of case."""
    return fold(fold(text).casefold())
