"""The generated part of a page of the documentation, between two markers. The text around it is hand-written."""

from pathlib import Path

from taosr_she.base.errors import UserError
from taosr_she.base.files import write_text


def marks(name: str) -> tuple[str, str]:
    """The lines before and after what is made from `name`.json."""
    return f"<!-- from {name}.json: begin -->", f"<!-- from {name}.json: end -->"


def check_marks(page: Path, name: str) -> None:
    """UserError if the page has no place for the tables: better before the runs than after them."""
    begin, end = marks(name)
    text = page.read_text("utf-8") if page.is_file() else ""
    if begin not in text or end not in text:
        raise UserError(f"--docs: {page} needs the lines {begin} and {end}, between which the tables are written")


def write_between(page: Path, name: str, body: str) -> None:
    """Replace what is between the markers of the page (`check_marks`)."""
    begin, end = marks(name)
    before, _, rest = page.read_text("utf-8").partition(begin)
    write_text(page, f"{before}{begin}\n\n{body}\n\n{end}{rest.partition(end)[2]}")
