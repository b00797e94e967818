"""Text that comes from a file, a recipe or a model, made harmless for the place where it is shown.

What people or models wrote is data. On a terminal it must not move the cursor, set colours or hide itself; in a
Markdown file it must not become HTML, a link or a table. (The HTML report has its own way: Jinja's autoescape.)
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
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def one_line(text: str) -> str:
    r"""As `plain`, and newlines and tabs are shown as `\n` and `\t`: a message that must be one line is one."""
    return plain(text).replace("\n", "\\n").replace("\t", "\\t")


def markdown(text: str) -> str:
    r"""`text` as running text of Markdown, also in a table's cell: nothing in it is a tag, a link or a mark.

    >>> markdown("<b>5* | [x](y)")
    '&lt;b&gt;5\\* \\| \\[x\\]\\(y\\)'
    """
    words = " ".join(plain(text).split())
    escaped = _MARKDOWN.sub(r"\\\g<0>", words.replace("&", "&amp;"))
    return escaped.replace("<", "&lt;").replace(">", "&gt;")


def code(text: str) -> str:
    """`text` as a code span of Markdown, whatever backticks it holds. Not for a table's cell that may hold a `|`."""
    words = " ".join(plain(text).split()) or " "
    fence = "`" * (max((len(run) for run in re.findall("`+", words)), default=0) + 1)
    gap = " " if words.startswith("`") or words.endswith("`") else ""
    return f"{fence}{gap}{words}{gap}{fence}"
