"""`taosr-she annotations` as its users meet it."""

import json
import sys
from pathlib import Path

import pytest

from taosr_she.cli import main
from taosr_she.data.market.annotators import PEOPLE
from taosr_she.data.market.market import MarketConfig, generate_market
from taosr_she.data.write import write_pairs
from taosr_she.domain.annotation import read_annotations, write_annotations
from taosr_she.domain.pair import Annotation


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["taosr-she", "annotations", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


@pytest.fixture
def said(tmp_path: Path) -> list[Annotation]:
    """Three people about 150 pairs, one of whom reads four in ten steps wrong; beside them the pairs."""
    people = (*PEOPLE[:2], PEOPLE[2].model_copy(update={"name": "poisoned", "error_rate": 0.4, "coverage": 1.0}))
    sizes = {"demonstration_pairs": 0, "development_pairs": 0, "test_pairs": 0}
    market = generate_market(MarketConfig(training_pairs=150, annotators=people, **sizes), 1)
    write_pairs(tmp_path / "pairs.jsonl", market.pairs["training"])
    write_annotations(tmp_path / "said.jsonl", market.annotations)
    return market.annotations


@pytest.mark.parametrize("layout", ["jsonl", "label_studio", "stepwise"])
def test_there_and_back(
    layout: str,
    said: list[Annotation],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store, out, again = str(tmp_path / "a.db"), str(tmp_path / "out.json"), str(tmp_path / "b.db")
    assert call(monkeypatch, "import", str(tmp_path / "said.jsonl"), store) == 0
    assert f"{len(said)} records into" in " ".join(capsys.readouterr().out.split())
    pairs = ["--pairs", str(tmp_path / "pairs.jsonl")]
    assert call(monkeypatch, "export", store, out, "--layout", layout, *pairs) == 0
    config = tmp_path / "out.json.config.xml"  # Label Studio cannot show the tasks without it
    assert config.is_file() == (layout == "label_studio")
    assert layout != "label_studio" or config.read_text().startswith("<View>")
    assert call(monkeypatch, "import", out, again, "--layout", layout) == 0
    assert call(monkeypatch, "export", again, str(tmp_path / "back.jsonl")) == 0
    key = str
    assert sorted(read_annotations(tmp_path / "back.jsonl"), key=key) == sorted(said, key=key)


def test_the_poisoned_annotator_is_named(
    said: list[Annotation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "agreement", str(tmp_path / "said.jsonl")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if "stands out" in line] == ["poisoned"]
    assert any("ada, ben:" in line and "kappa" in line for line in lines)


def test_bad_records_go_to_quarantine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {"pair_id": "p1", "step": "category", "conclusion": "same"}
    (tmp_path / "x.jsonl").write_text(json.dumps(good) + "\n" + json.dumps({"pair_id": "p1"}) + "\n")
    assert call(monkeypatch, "import", str(tmp_path / "x.jsonl"), str(tmp_path / "x.db")) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "1 records into" in shown and "missing field" in shown
    (row,) = (tmp_path / "x.jsonl.quarantine.jsonl").read_text().splitlines()
    assert json.loads(row)["reason"] == "missing field"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", "said.jsonl", "a.db", "--layout", "xml"], "--layout xml"),
        (["export", "said.jsonl", "x.json", "--layout", "stepwise"], "give --pairs"),
        (["agreement", "nobody.db"], "nobody.db: no such file"),
    ],
)
def test_a_users_mistake_is_one_line(
    arguments: list[str], message: str, said: list[Annotation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and message in lines[0]


def test_an_export_onto_a_device_leaves_the_device(
    said: list[Annotation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store, full, null = str(tmp_path / "a.db"), tmp_path / "full", tmp_path / "null"
    full.symlink_to("/dev/full")  # links, so that a failing test replaces no device of the machine
    null.symlink_to("/dev/null")
    assert call(monkeypatch, "import", str(tmp_path / "said.jsonl"), store) == 0
    capsys.readouterr()
    assert call(monkeypatch, "export", store, str(full)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "full: No space left on device" in line
    assert call(monkeypatch, "export", store, str(null)) == 0
    assert full.is_char_device() and full.is_symlink() and null.is_char_device() and null.is_symlink()


def write(path: Path, *annotations: Annotation) -> str:
    write_annotations(path, annotations)
    return str(path)


@pytest.mark.parametrize(
    ("records", "note"),
    [
        ([("p1", "ann", "same"), ("p2", "ann", "near")], "agreement needs two annotators: all 2 records are by 'ann'"),
        ([("p1", "ann", "same"), ("p2", "ben", "near")], "no two annotators share an item"),
        (
            [("p1", "ann", "same"), ("p1", "ben", "same")],
            "kappa is unknown if both annotators give the same single value",
        ),
        ([("p1", "ann", "same"), ("p1", "ben", "near")], "this needs items with verdicts by three annotators"),
    ],
)
def test_agreement_explains_what_it_cannot_say(
    records: list[tuple[str, str, str]], note: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    said = [Annotation(pair, "category", value, annotator=name) for pair, name, value in records]
    assert call(monkeypatch, "agreement", write(tmp_path / "a.jsonl", *said)) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert note in shown and "nan" not in shown


def test_agreement_names_steps_of_another_domain_the_unsure_and_an_empty_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = Annotation("p1", "colour", "x", annotator="ann")
    unsure = Annotation("p1", "category", "same", "unsure", annotator="ben")
    assert call(monkeypatch, "agreement", write(tmp_path / "a.jsonl", strange, unsure)) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "1 of 2 records are left out: domain taobao has no step colour; is it the right --domain?" in shown
    assert "always unsure, so with nothing to compare: ben" in shown
    assert call(monkeypatch, "agreement", write(tmp_path / "empty.jsonl")) == 2
    assert "empty.jsonl: no record in it" in capsys.readouterr().err


def test_a_file_of_which_nothing_comes_through_makes_no_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, store = tmp_path / "a.jsonl", tmp_path / "a.db"
    path.write_text('{"step": "category"}\n[]\n')
    assert call(monkeypatch, "import", str(path), str(store)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "no record in it comes through (1 x" in error and not store.exists()
    path.write_text("")
    assert call(monkeypatch, "import", str(path), str(store)) == 2
    assert "is --layout jsonl right?" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["import", "export", "agreement"])
@pytest.mark.parametrize(
    "store", ["sqlite:///{}/shop.db?timeout=7.25", "nonsense://ann:s3cret@host/x", "{}", "{}/text.db"]
)
def test_store_errors_are_one_line_without_secrets(
    command: str, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sqlite3

    other = sqlite3.connect(tmp_path / "shop.db")
    other.execute("CREATE TABLE annotations (id INTEGER)")
    other.close()
    (tmp_path / "text.db").write_text("pair_id,step\n" * 100)
    said = write(tmp_path / "said.jsonl", Annotation("p1", "category", "same", annotator="ann"))
    name = store.format(tmp_path)
    arguments = {"import": [said, name], "export": [name, str(tmp_path / "out.jsonl")], "agreement": [name]}
    assert call(monkeypatch, command, *arguments[command]) == 2
    error = capsys.readouterr().err
    assert error.startswith("taosr-she: annotation") and error.count("\n") == 1
    assert "s3cret" not in error and "7.25" not in error
