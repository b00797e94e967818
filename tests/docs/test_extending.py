"""The examples of docs/extending.md, run as they are printed."""

import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taosr_she.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
BLOCK = re.compile(r"(?:^`(?P<file>[\w.-]+)`:\n\n)?^```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
SECTIONS = re.split(r"^## (.*)\n", PAGE.read_text("utf-8"), flags=re.MULTILINE)
TITLES = SECTIONS[1::2]


def blocks(text: str) -> list[tuple[str, str, str]]:
    """(file name or nothing, kind, content) of every fenced block."""
    return [(m["file"] or "", m["kind"], m["body"]) for m in BLOCK.finditer(text)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All files of the page, in one folder: the sections share the small recipe and what it has trained."""
    where = tmp_path_factory.mktemp("extending")
    for name, _, body in blocks(PAGE.read_text("utf-8")):
        if name:
            (where / name).write_text(body, "utf-8")
    return where


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in that folder, and forget its modules afterwards."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield folder
    for name in [name for name in sys.modules if (folder / f"{name}.py").exists()]:
        del sys.modules[name]


def run(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What a printed command says, in this process: libraries are loaded once."""
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    assert sys.argv[0] == "taosr-she"
    with pytest.raises(SystemExit) as stop:
        main()
    out, error = capsys.readouterr()
    assert stop.value.code in (0, None) or (stop.value.code == 2 and error.startswith("taosr-she: "))
    return out + error


def rule_was_used(folder: Path) -> None:
    stage = json.loads((folder / "runs/small/stages/rl/stage.json").read_text())
    assert "my_rules:first_error" in stage["inputs"]


def examiner_was_asked(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "runs/small/stages/rl/metrics.jsonl").read_text().splitlines()]
    assert all(0 < row["sources"]["category"]["machine"] < 1 for row in rows)
    assert all("machine" not in row["sources"]["attributes"] for row in rows)


def pairs_were_chosen(folder: Path) -> None:
    rows = (folder / "runs/small/stages/short/selected.jsonl").read_text().splitlines()
    assert rows and all(len(json.loads(row)["query"].split()) <= 4 for row in rows)


def domain_was_learnt(folder: Path) -> None:
    results = json.loads((folder / "runs/my-shop/stages/evaluate/results.json").read_text())
    assert (results["codes"], results["step_keys"]) == (["A", "P", "N"], ["need", "fit", "label"])
    assert len((folder / "judged.jsonl").read_text().splitlines()) == 8


def baseline_is_in_the_results(folder: Path) -> None:
    results = json.loads((folder / "runs/small/stages/evaluate/results.json").read_text())
    assert list(results["models"]) == ["majority", "word_overlap", "sft", "rl"]
    assert len((folder / "runs/small/stages/evaluate/predictions-word_overlap.jsonl").read_text().splitlines()) == 20


CHECKS: dict[str, Callable[[Path], None]] = {
    "A credit rule": rule_was_used,
    "An examiner": examiner_was_asked,
    "A stage kind": pairs_were_chosen,
    "A domain": domain_was_learnt,
    "A baseline": baseline_is_in_the_results,
}


def test_every_section_is_checked() -> None:
    assert list(CHECKS) == TITLES


@pytest.mark.parametrize("title", CHECKS)
def test_the_example_works_as_printed(
    title: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said, compared = "", 0
    for _, kind, body in blocks(SECTIONS[SECTIONS.index(title) + 1]):
        if kind == "bash":
            said = "".join(run(command, monkeypatch, capsys) for command in body.splitlines())
        if kind == "text":
            compared += 1
            for line in body.splitlines():
                pattern = ".*".join(map(re.escape, line.split("…")))
                assert re.search(f"^{pattern}$", said, re.MULTILINE), f"not said: {line}\n{said}"
    assert compared
    CHECKS[title](here)
