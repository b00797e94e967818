"""README and docs: links lead somewhere, files and rooms are where they are said to be, command lines parse."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import taosr_she
from taosr_she.base.errors import UserError
from taosr_she.cli import app
from taosr_she.recipe.config import load_recipe, shipped_recipes

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LOG = ROOT / "docs" / "log.md"
"""A diary: it names files and options as they were on the day."""


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def fences(text: str) -> list[tuple[str, str]]:
    """(language, content) of every fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)


def anchors(page: Path) -> set[str]:
    """GitHub's anchors of the headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("page", [page for page in PAGES if page != LOG], ids=named)
def test_files_of_the_package_are_where_they_are_said_to_be(page: Path) -> None:
    paths = re.findall(r"`(taosr_she/[\w/.-]*)", page.read_text("utf-8"))
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md", "docs/rooms.svg"])
def test_every_room_is_named(page: str) -> None:
    rooms = [top.parent.name for top in (ROOT / "taosr_she").glob("*/__init__.py")]
    text = (ROOT / page).read_text("utf-8")
    assert [room for room in rooms if not re.search(rf"`{room}/|>{room}<", text)] == []


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Every `taosr-she ...` that stands in a fenced block: its page, and its words without the name of the program."""
    for page in PAGES:
        for _, block in fences(page.read_text("utf-8")) if page != LOG else ():
            for line in block.replace("\\\n", " ").splitlines():
                for part in line.removeprefix("$ ").split("&&"):
                    if part.strip().startswith("taosr-she "):
                        yield named(page), shlex.split(part, comments=True)[1:]


def parse(command: Any, words: list[str]) -> None:
    """Raises typer's usage error for a command, option or value that the command line does not know."""
    if hasattr(command, "commands"):
        assert words and words[0] in command.commands, f"no such command: {' '.join(words)}"
        parse(command.commands[words[0]], words[1:])
    else:
        command.make_context("taosr-she", list(words))


def test_there_are_command_lines() -> None:
    assert len({page for page, _ in command_lines()}) >= 6 and len(list(command_lines())) >= 25


@pytest.mark.parametrize(
    ("page", "words"), [pytest.param(page, words, id=f"{page}: {' '.join(words)}") for page, words in command_lines()]
)
def test_command_lines_parse(page: str, words: list[str]) -> None:
    parse(typer.main.get_command(app), words)
    if words[0] == "run" and Path(words[1]).stem in shipped_recipes():
        overrides = [word for word in words[2:] if "=" in word]
        try:
            load_recipe(Path(words[1]).stem, overrides)
        except UserError as error:
            pytest.fail(f"{page}: {error}")


def test_the_demos_time_stands_in_the_readme_alone() -> None:
    target = next(line for line in (ROOT / "Makefile").read_text("utf-8").splitlines() if line.startswith("demo:"))
    command = typer.main.get_command(app).commands["demo"]  # type: ignore[attr-defined]
    assert "minute" not in target + command.help


def test_the_citation_is_complete_and_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["cff-version"] == "1.2.0" and citation["version"] == taosr_she.__version__
    (paper,) = citation["references"]
    for work in (citation, paper):
        assert work["title"] and work["authors"] and work["type"]
    assert paper["url"].endswith("2510.07972")
