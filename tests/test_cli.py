"""The command line as users meet it, in this process where possible."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from taosr_she.cli import app, main
from taosr_she.domain.annotation import write_annotations
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Annotation
from taosr_she.examine.gsrm import GSRM, GSRMConfig
from taosr_she.examine.store import AnnotationStore
from taosr_she.model.policy import save_policy
from taosr_she.model.tiny import TinyConfig, build_tiny


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["taosr-she", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


@pytest.mark.parametrize("command", ["speed", "parts", "profile", "threads", "device", "precision"])
def test_a_file_where_a_folder_belongs_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    place = tmp_path / "taken"
    place.write_text("mine")
    assert call(monkeypatch, "bench", command, "--out", str(place)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(place) in line and place.read_text() == "mine"


def test_a_full_disk_is_one_line_and_other_errors_of_the_system_are_not_hidden(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        with open("/dev/full", "w") as file:
            file.write("too much")

    monkeypatch.setattr("taosr_she.bench.threads.measure_threads", full)
    assert call(monkeypatch, "bench", "threads") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "No space left on device" in line
    monkeypatch.setattr("taosr_she.bench.threads.measure_threads", lambda *_: Path("/not/there").read_text())
    monkeypatch.setattr(sys, "argv", ["taosr-she", "bench", "threads"])
    with pytest.raises(FileNotFoundError):
        main()


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['taosr-she', '--help']\n"
        "from taosr_she.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'trl', 'numpy', 'pandas', 'pyarrow', 'sklearn', 'sqlalchemy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    started = time.perf_counter()
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip().endswith("[]")
    assert all(command in out for command in ("demo", "run", "evaluate", "judge", "examine", "data", "report"))
    print(f"--help in {time.perf_counter() - started:.2f} s")


def commands_of(group: Any, path: str = "taosr-she") -> Iterator[tuple[str, Any]]:
    """Every command of the command line with the words that call it."""
    for name, command in group.commands.items():
        yield f"{path} {name}", command
        if hasattr(command, "commands"):
            yield from commands_of(command, f"{path} {name}")


def test_every_command_option_and_argument_has_a_help_text() -> None:
    found = list(commands_of(typer.main.get_command(app)))
    assert len(found) >= 22
    silent = [path for path, command in found if not (command.help or "").strip()]
    silent += [f"{path} {p.name}" for path, command in found for p in command.params if not (p.help or "").strip()]
    assert silent == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["judge"], "Missing argument 'model'; see taosr-she judge --help"),
        (["judge", "m", "p", "--max-new-tokens", "0"], "'--max-new-tokens'"),
        (["judge", "m", "p", "--max-new-tokens", "many"], "'--max-new-tokens'"),
        (["judge", "m", "p", "q"], "q"),
        (["evaluate", "m", "p", "--bogus"], "--bogus"),
        (["juge"], "'juge'"),
        (["data", "vaildate"], "see taosr-she data --help"),
        (["--bogus"], "--bogus"),
        (["data", "validate", ""], "a path cannot be empty"),
        (["bench", "speed", "--steps", "0"], "see taosr-she bench speed --help"),
        (["run", "x\nb\x1b[31m.yaml"], "recipe 'x\\nb\\x1b[31m.yaml'"),
    ],
)
def test_a_wrong_call_is_one_line(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, *arguments) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.startswith("taosr-she: ") and error.count("\n") == 1 and said in error


@pytest.mark.parametrize(
    ("arguments", "how"),
    [
        (["run", "demo"], "what is done is kept; run the same command again to continue"),
        (["report", "somewhere"], "run it again"),
        (["bench", "threads"], "run it again"),
    ],
)
def test_ctrl_c_is_one_line_and_130(
    arguments: list[str], how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    for place in ("recipe.config.load_recipe", "report.build.build_report", "bench.threads.measure_threads"):
        monkeypatch.setattr(f"taosr_she.{place}", pressed)
    assert call(monkeypatch, *arguments) == 130
    assert capsys.readouterr().err == f"taosr-she: stopped; {how}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere.yaml"], "recipe 'nowhere.yaml' is neither a file nor one of: chorus, demo"),
        (["run", "demo", "sead=1"], "sead: unknown key"),
        (["run", "demo", "--seeds", "1,x"], "expected whole numbers"),
        (["run", "demo", "--seeds", "1"], "at least two different seeds"),
        (["data", "validate", "no.csv"], "no.csv"),
        (["data", "validate", "no.csv", "--column", "query"], "expected field=column"),
        (["report", "no-such-run"], "no-such-run"),
        (["judge", "no/such/model", "no.csv"], "no/such/model: no such folder"),
        (["examine", "no.jsonl"], "there is no examiner"),
        (["examine", "no.jsonl", "--annotations", "no.db"], "no.jsonl"),
        (["examine", "no.jsonl", "--endpoint", "http://localhost/v1"], "--endpoint together with --endpoint-model"),
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
    assert "1 of 3 rows are usable" in out and "unknown label" in out
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
    assert "6 of 6 rows are usable" in " ".join(capsys.readouterr().out.split())


RESPONSE = (
    "[query] category: boots; color: red\n[product] category: boots\n[category] near\n[attributes] none\n[label] 4"
)


def responses_file(path: Path) -> Path:
    """Two responses to one pair, and one row without a response."""
    rows = [
        {"pair_id": "p1", "query": "red boots", "title": "Boots", "label": "4", "response": response}
        for response in (RESPONSE, RESPONSE.replace("near", "same"), "")
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("kind", ["said.jsonl", "said.db"])
def test_examine_with_annotations(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    annotations = [Annotation("p1", "category", "same", annotator="ann")]
    said = tmp_path / kind
    if kind.endswith(".db"):
        with AnnotationStore(said) as store:
            store.add(annotations)
    else:
        write_annotations(said, annotations)
    out = tmp_path / "examined.jsonl"
    path = responses_file(tmp_path / "responses.jsonl")
    assert call(monkeypatch, "examine", str(path), "--annotations", str(said), "--out", str(out)) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "2 of 3 rows are usable" in shown and "missing response" in shown and "human 4" in shown
    first, second = (json.loads(line) for line in out.read_text().splitlines())
    assert (first["verdict_category"], first["source_category"], first["first_error"]) == (0.0, "human", "category")
    assert (second["verdict_category"], second["verdict_label"], second["first_error"]) == (1.0, 1.0, None)
    assert first["verdict_query"] is None and first["source_query"] == "unknown"


def test_examine_with_a_gsrm_says_what_each_step_should_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    domain, folder = load_domain("taobao"), tmp_path / "gsrm"
    tiny = TinyConfig(hidden=32, layers=1, heads=2, kv_heads=1, ffn=32, vocab_size=600, max_positions=4096)
    policy = build_tiny([RESPONSE] * 4, domain, tiny, 1)
    save_policy(policy, folder)
    path, out = responses_file(tmp_path / "responses.jsonl"), tmp_path / "examined.jsonl"
    arguments = ["examine", str(path), "--gsrm", str(folder), "--out", str(out)]
    assert call(monkeypatch, *arguments) == 2  # a model that was never trained as a GSRM
    assert "it has no gsrm.json" in capsys.readouterr().err
    GSRM(policy, domain, GSRMConfig(max_reasoning_tokens=16)).save_config(folder)
    assert call(monkeypatch, *arguments) == 0
    row = json.loads(out.read_text().splitlines()[0])
    assert {f"critique_{key}" for key in domain.step_keys} <= row.keys()
    assert row["source_label"] == "human" and row["source_query"] in ("gsrm", "unknown")


def test_examine_needs_annotations_that_are_there_and_a_known_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, people, out = responses_file(tmp_path / "responses.jsonl"), tmp_path / "people.db", str(tmp_path / "x.jsonl")
    arguments = ["examine", str(path), "--annotations", str(people), "--out", out]
    assert call(monkeypatch, *arguments) == 2
    assert "people.db: no such file" in capsys.readouterr().err and not people.exists()
    AnnotationStore(people).close()
    for mode, said in (("gsrm_only", "needs a GSRM"), ("people", "expected one of human_first, gsrm_only")):
        assert call(monkeypatch, *arguments, "--mode", mode) == 2
        assert said in capsys.readouterr().err


def test_a_name_with_escape_sequences_and_newlines_is_one_harmless_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    name = "no\x1b[2J\n[red]such.csv"
    assert call(monkeypatch, "data", "validate", str(tmp_path / name)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert r"no\x1b[2J\n[red]such.csv" in line
    path = tmp_path / "[bold]\x1b[31mpairs.jsonl"
    path.write_text(json.dumps({"query": "a", "title": "b"}) + "\n")
    assert call(monkeypatch, "data", "validate", str(path)) == 0
    assert r"[bold]\x1b[31mpairs.jsonl: 1 of 1 rows" in " ".join(capsys.readouterr().out.split())
