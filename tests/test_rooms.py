"""The house: which room may import which. A room imports only rooms on lower floors, so there is no circle."""

import ast
from collections.abc import Iterator
from pathlib import Path

import taosr_she

FLOORS = (
    {"base", "engine"},
    {"credit", "domain", "endpoint", "ranks"},
    {"data", "model"},
    {"judge"},
    {"examine"},
    {"evaluate", "select"},
    {"train"},
    {"engines", "report", "serve", "annotate"},
    {"recipe"},
    {"bench"},
    {"commands"},
    {"cli"},
    {"reference", "__main__"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
HOUSE = Path(taosr_she.__file__).parent
ALONE = {
    "engine": set(),
    "ranks": {"base", "engine"},
    "credit": {"base"},
    "base": set(),
    "endpoint": {"base"},
    "domain": {"base"},
}
"""Rooms that know nothing but these."""


def imported(file: Path) -> Iterator[str]:
    """Rooms that a file imports, at its top or inside of its functions."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "taosr_she" else [f"taosr_she.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "taosr_she" and len(parts) > 1 and not parts[1].startswith("__"):
                yield parts[1]


def arrows() -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for file in HOUSE.rglob("*.py"):
        parts = file.relative_to(HOUSE).parts
        if parts == ("__init__.py",):
            continue  # the public names, imported when somebody asks for them
        room = parts[0] if len(parts) > 1 else file.stem
        for other in imported(file):
            if other != room:
                found.setdefault((room, other), []).append(str(file.relative_to(HOUSE)))
    return found


def test_every_room_stands_on_a_floor() -> None:
    rooms = {p.name for p in HOUSE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    rooms |= {p.stem for p in HOUSE.glob("*.py") if p.stem != "__init__"}
    assert rooms == set(FLOOR)


def test_arrows_point_down() -> None:
    wrong = {arrow: files for arrow, files in arrows().items() if FLOOR[arrow[0]] <= FLOOR[arrow[1]]}
    assert not wrong, f"a room imports one that is not below it: {wrong}"


def test_what_knows_little_stays_so() -> None:
    known: dict[str, set[str]] = {room: set() for room in ALONE}
    for room, other in arrows():
        if room in known:
            known[room].add(other)
    assert known == {room: known[room] & allowed for room, allowed in ALONE.items()}


def test_every_room_says_what_lives_there() -> None:
    """The paragraph at the top of a folder names its files."""
    for top in HOUSE.rglob("*/__init__.py"):
        said = ast.get_docstring(ast.parse(top.read_text("utf-8"))) or ""
        unnamed = [p.stem for p in top.parent.glob("*.py") if p != top and f"`{p.stem}`" not in said]
        assert not unnamed, f"{top.parent.relative_to(HOUSE)}/__init__.py does not name {unnamed}"
