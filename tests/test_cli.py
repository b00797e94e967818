"""The command line as users meet it, in this process where possible."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from taosr_she.cli import main


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["taosr-she", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['taosr-she', '--help']\n"
        "from taosr_she.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'transformers', 'trl', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    started = time.perf_counter()
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip().endswith("[]")
    assert all(command in out for command in ("demo", "run", "evaluate", "judge", "data", "report"))
    print(f"--help in {time.perf_counter() - started:.2f} s")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere.yaml"], "recipe 'nowhere.yaml' is neither a file nor one of: demo"),
        (["run", "demo", "sead=1"], "sead: unknown key"),
        (["run", "demo", "--seeds", "1,x"], "expected whole numbers"),
        (["run", "demo", "--seeds", "1"], "at least two different seeds"),
        (["data", "validate", "no.csv"], "no.csv"),
        (["data", "validate", "no.csv", "--column", "query"], "expected field=column"),
        (["report", "no-such-run"], "no-such-run"),
        (["judge", "no/such/model", "no.csv"], "no.csv"),
    ],
)
def test_a_users_mistake_is_one_line(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, *arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("taosr-she: ") and message in lines[0]


def test_validate_and_convert_say_what_came_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("term,title,label\nred boots,Red boots,4\n,No query,4\ntent,Tent,seven\n")
    assert call(monkeypatch, "data", "validate", str(path), "--column", "query=term") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "1 of 3 rows come through" in out and "unknown label" in out
    quarantine = tmp_path / "pairs.csv.quarantine.jsonl"
    assert len(quarantine.read_text().splitlines()) == 2
    target = tmp_path / "pairs.parquet"
    assert call(monkeypatch, "data", "convert", str(path), str(target), "--column", "query=term") == 0
    from taosr_she.data.read import read_pairs

    assert [p.query for p in read_pairs(target)] == ["red boots"]


def test_market_command_writes_a_folder_that_validates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["demonstration_pairs=20", "training_pairs=10", "development_pairs=4", "test_pairs=6"]
    assert call(monkeypatch, "data", "market", str(tmp_path / "m"), *sizes, "--seed", "3") == 0
    assert len((tmp_path / "m" / "demonstrations.jsonl").read_text().splitlines()) == 20
    first = json.loads((tmp_path / "m" / "test.jsonl").read_text().splitlines()[0])
    assert {"query", "title", "label"} <= set(first)
    assert call(monkeypatch, "data", "validate", str(tmp_path / "m" / "test.jsonl"), "--require-label") == 0
    assert "6 of 6 rows come through" in " ".join(capsys.readouterr().out.split())
