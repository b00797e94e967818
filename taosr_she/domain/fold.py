"""Normalisation ("folding") of user text. The prompt shows folded text, and queries with equal folded text are one."""

import unicodedata
from functools import lru_cache

_OPENING = "[⁅❲⟦⟬⦋⦍⦏⦗⹕⹗【〔〖〘〚"
_CLOSING = "]⁆❳⟧⟭⦌⦎⦐⦘⹖⹘】〕〗〙〛"
_BRACKETS = str.maketrans(_OPENING + _CLOSING, "(" * len(_OPENING) + ")" * len(_CLOSING))
_ASCII_CONTROLS = dict.fromkeys(code for code in (*range(32), 127) if not chr(code).isspace())


def fold(text: str) -> str:
    """The text on one line, in one Unicode form.

    Square brackets of any script become round ones. Line breaks and runs of white space become one space. Control,
    format and unassigned characters are removed, because they can hide text from readers and filters. Compatibility
    characters are normalised (NFKC).
    """
    if text.isascii():  # by far the most common case, and NFKC does not change it
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
