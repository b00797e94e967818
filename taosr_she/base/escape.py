"""Escaping: makes text from a file, a recipe or a model harmless wherever it is shown.

Text that people or models wrote is data. On a terminal it must not move the cursor, set colours or hide itself. In a
Markdown file it must not become HTML, a link or a table. (The HTML report uses Jinja's autoescape instead.)
"""

import re

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters except tab and newline (ESC among them: it starts every escape sequence of a terminal), line and
paragraph separators, overrides of the writing direction ("Trojan Source", arXiv 2111.00169), and lone surrogates, which
no encoding can write."""
_MARKDOWN = re.compile(r"[\\`*_{}\[\]()#|~$]")


def plain(text: str) -> str:
    r"""`text` for a terminal or a log: control characters are shown as Python writes them, e.g. `\x1b`.

    >>> plain("red \x1b[31mhat")
    'red \\x1b[31mhat'
    """
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def one_line(text: str) -> str:
    r"""As `plain`, with newlines and tabs shown as `\n` and `\t`, for messages that must be one line."""
    return plain(text).replace("\n", "\\n").replace("\t", "\\t")


def markdown(text: str) -> str:
    r"""`text` as plain text in Markdown, also in a table cell: nothing in it acts as a tag, a link or markup.

    >>> markdown("<b>5* | [x](y)")
    '&lt;b&gt;5\\* \\| \\[x\\]\\(y\\)'
    """
    words = " ".join(plain(text).split())
    escaped = _MARKDOWN.sub(r"\\\g<0>", words.replace("&", "&amp;"))
    return escaped.replace("<", "&lt;").replace(">", "&gt;")


def code(text: str) -> str:
    """`text` as a code span in Markdown, even if it contains backticks. Not for a table cell, if it may contain `|`."""
    words = " ".join(plain(text).split()) or " "
    fence = "`" * (max((len(run) for run in re.findall("`+", words)), default=0) + 1)
    gap = " " if words.startswith("`") or words.endswith("`") else ""
    return f"{fence}{gap}{words}{gap}{fence}"
