"""`taosr-she model`: what it says, what it refuses before its work, and the name in other commands and recipes."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from gguf_files import small_gguf

from taosr_she.model.names import BOXED
from taosr_she.recipe.card import model_card
from taosr_she.recipe.config import load_recipe

Cli = Callable[..., tuple[int, str, str]]
COMMAND = [sys.executable, "-m", "taosr_she.cli", "model"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return small_gguf(tmp_path / "small.gguf", fields={"llama.context_length": 8192})


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAOSR_SHE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taosr_she.model.names.wheel_file", lambda name: None)


def test_an_imported_file_judges(file: Path, pairs: Path, tmp_path: Path, cli: Cli) -> None:
    code, said, error = cli("model", "import", file, "--out", tmp_path / "out")
    assert (code, error) == (0, "")
    assert said == f"{file}: llama, 78,656 weights, licence apache-2.0, in {tmp_path / 'out'}\n"
    judged = tmp_path / "judged.jsonl"
    words = ("judge", tmp_path / "out", pairs, "--domain", "esci", "--out", judged, "--max-new-tokens", 4)
    assert cli(*words)[0] == 0
    assert [json.loads(line)["malformed"] != "" for line in judged.read_text().splitlines()] == [True] * 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.gguf", "--out", "new"], "no.gguf: no such file"),
        ([".", "--out", "new"], ".: is a folder; name the .gguf file itself"),
        (["text.gguf", "--out", "new"], "text.gguf: not a GGUF file"),
        (["small.gguf", "--out", "full"], "--out full: is not empty; name a new folder"),
        (["small.gguf", "--out", "text.gguf"], "--out text.gguf: is a file; name a folder"),
        (["small.gguf", "--out", "text.gguf/new"], "--out text.gguf/new: text.gguf is not a folder"),
        (["small.gguf", "--out", "/proc/new"], "--out /proc/new: cannot write to /proc"),
        (["small.gguf", "--out", "."], "--out .: is not the name of a folder"),
        (["small.gguf"], "Missing option '--out'"),
    ],
)
def test_mistakes_are_one_line_before_the_work(
    arguments: list[str], message: str, file: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        raise AssertionError("the weights were read before the input was checked")

    monkeypatch.setattr("taosr_she.model.gguf_import.import_gguf", read)
    monkeypatch.chdir(file.parent)
    Path("full").mkdir()
    Path("full/notes.txt").write_text("mine")
    Path("text.gguf").write_text("hello")
    before = sorted(Path(".").rglob("*"))
    code, _, error = cli("model", "import", *arguments)
    (line,) = error.splitlines()
    assert code == 2 and line.startswith("taosr-she: ") and message in line
    assert sorted(Path(".").rglob("*")) == before


def test_a_name_that_is_none(cli: Cli) -> None:
    assert cli("model", "fetch", "gpt-5") == (
        2, "", "taosr-she: model gpt-5: cannot be fetched by this name; the names are smollm2-135m\n"
    )  # fmt: skip


def test_other_commands_and_recipes_name_the_command_to_run(
    pairs: Path, tmp_path: Path, cli: Cli, no_wheel: None
) -> None:
    """Before pairs are read or a stage is run."""
    run = ["run", "demo", "stages.sft.model=smollm2-135m", f"out={tmp_path / 'run'}"]
    for words in (["judge", "smollm2-135m", pairs], ["evaluate", "smollm2-135m", pairs], run, [*run, "--dry-run"],
                  [*run, "stages.sft.other_domain=true"]):  # fmt: skip
        code, _, error = cli(*words)
        assert code == 2 and error.startswith("taosr-she: model smollm2-135m: not fetched yet; run `pip install --no-")
        assert error.count("\n") == 1 and "`taosr-she model fetch smollm2-135m`" in error
    assert not (tmp_path / "run" / "stages").exists()


def test_the_card_names_the_original(tmp_path: Path) -> None:
    recipe = load_recipe("demo", ["stages.sft.model=smollm2-135m", f"out={tmp_path}"])
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    card = model_card(recipe, recipe.load_domain(), "sft", {})
    assert yaml.safe_load(card.split("---")[1])["base_model"] == BOXED["smollm2-135m"].original
    assert "`smollm2-135m`" in card


def test_lines_of_progress_on_a_terminal(file: Path, tmp_path: Path) -> None:
    words = [*COMMAND, "import", str(file), "--out"]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*words, tmp_path / "b"], stdout=theirs, stderr=theirs, env=os.environ | {"TERM": "xterm"}
    ) as p:
        os.close(theirs)
        said = b""
        try:
            while some := os.read(ours, 4096):
                said += some
        except OSError:  # how a terminal says that nobody writes to it any more
            pass
        assert p.wait() == 0
    os.close(ours)
    text = said.decode()
    assert all(what in text for what in ("checksum", "reading", "writing", "20/20")) and "it/s" not in text
