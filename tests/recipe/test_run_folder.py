"""The folder of a run: whose it is, what happens to damaged files in it, running a stage again, two runs at once."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from taosr_she.base.errors import UserError
from taosr_she.model.policy import load_policy
from taosr_she.recipe.config import Recipe
from taosr_she.recipe.plan import forget, plan, redone
from taosr_she.recipe.records import KNOWN, LATER, check_ours, verify_files
from taosr_she.train.state import save_state

PROMPT = {"instruction": "", "show_labels": False, "show_rules": False, "show_format": False}
TINY = {"hidden": 16, "layers": 1, "heads": 2, "kv_heads": 1, "ffn": 16, "vocab_size": 400}
Cli = Callable[..., tuple[int, str, str]]


def recipe_of(**stages: Any) -> dict[str, Any]:
    market = {"demonstration_pairs": 24, "training_pairs": 8, "development_pairs": 2, "test_pairs": 6}
    rl = {"updates": 2, "pairs_per_update": 2, "group_size": 2, "checkpoint_every": 1, "keep_rollouts_every": 1}
    return {
        "name": "small", "threads": 1, "domain_overrides": {"prompt": PROMPT},
        "stages": {
            "data": {"kind": "market", "market": market},
            "sft": {"kind": "sft", "tiny": TINY, "settings": {"epochs": 1, "batch_size": 12}},
            "rl": {"kind": "rl", "settings": {**rl, "sampling": {"max_new_tokens": 8}}},
            "evaluate": {"kind": "evaluate", "models": ["sft", "rl"], "max_new_tokens": 8, "resamples": 100},
            **stages,
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A recipe and its finished run folder, not to be written to."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.yaml").write_text(yaml.safe_dump(recipe_of(), sort_keys=False))
    command = [sys.executable, "-m", "taosr_she.cli", "run", folder / "small.yaml", f"out={folder / 'run'}"]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "small.yaml", folder / "run"


@pytest.fixture
def copied(small: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    shutil.copytree(small[1], tmp_path / "run")
    return small[0], tmp_path / "run"


def metrics(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "stages/rl/metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if "second" not in k} for row in rows]


def half_done(run: Path) -> None:
    """As a power cut leaves the rl stage after its first update: state, no checkpoint, no record."""
    rl = run / "stages/rl"
    (rl / "stage.json").unlink()
    (rl / "metrics.jsonl").write_text((rl / "metrics.jsonl").read_text().splitlines(keepends=True)[0])
    shutil.rmtree(rl / "checkpoint")


DAMAGE = {
    "empty": lambda old: b"", "cut": lambda old: old[: len(old) // 2], "list": lambda old: b"[1, 2]\n",
    "garbage": lambda old: b"\x00\xff garbage" * 9, "number": lambda old: b"7\n",
    "other keys": lambda old: b'{"x": 1}\n',
}  # fmt: skip
RECORDS = ("sft/stage.json", "sft/started.json", "sft/sft.json", "rl/stage.json", "rl/started.json")
CHOSEN = [("sft/stage.json", "empty"), ("sft/started.json", "cut"), ("rl/stage.json", "list")]


def damaged(run: Path, file: str, kind: str) -> None:
    """Damage a file of a stage, and make the stage look unfinished, so that the file is asked for."""
    place = run / "stages" / file
    old = place.read_bytes() if place.is_file() else b'{"fingerprint": "0", "examples": 3}'
    if place.name != "stage.json":
        (place.parent / "stage.json").unlink()
    place.write_bytes(DAMAGE[kind](old))


def check_record(cli: Cli, small: Any, copied: Any, file: str, kind: str) -> None:
    recipe, run = copied
    damaged(run, file, kind)
    code, out, err = cli("run", recipe, f"out={run}")
    assert code == 0, err
    assert f"{file.split('/')[0]}: done in" in out and metrics(run) == metrics(small[1])


@pytest.mark.parametrize(("file", "kind"), CHOSEN)
def test_a_damaged_record_counts_as_not_there(cli: Cli, small: Any, copied: Any, file: str, kind: str) -> None:
    check_record(cli, small, copied, file, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("file", RECORDS)
def test_any_damaged_record_counts_as_not_there(cli: Cli, small: Any, copied: Any, file: str, kind: str) -> None:
    check_record(cli, small, copied, file, kind)


@pytest.mark.parametrize("kind", ["empty", "cut", "garbage"])
@pytest.mark.parametrize("name", ["state.pt", "metrics.jsonl"])
def test_training_starts_again_from_a_damaged_state(
    cli: Cli,
    small: tuple[Path, Path],
    copied: tuple[Path, Path],
    name: str,
    kind: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    recipe, run = copied
    half_done(run)
    state = run / "stages/rl/state.pt"
    policy = load_policy(run / "stages/sft/checkpoint", "cpu", "float32")
    save_state(run / "stages/rl", 1, policy.model, torch.optim.AdamW(policy.model.parameters()))
    file = run / "stages/rl" / name
    file.write_bytes(DAMAGE[kind](file.read_bytes()))
    code, out, err = cli("run", recipe, f"out={run}")
    assert code == 0, err
    assert metrics(run) == metrics(small[1]) and "rl: resumes" in out
    assert "starts again" in caplog.text or (name, kind) == ("state.pt", "empty")
    assert not state.exists()


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("data/training.jsonl", "cut"),
        ("sft/checkpoint/model.safetensors", "one byte"),
        ("sft/checkpoint/config.json", "missing"),
    ],
)
def test_damaged_results_of_a_finished_stage_are_named_with_what_to_do(
    cli: Cli, copied: tuple[Path, Path], file: str, kind: str
) -> None:
    recipe, run = copied
    place, stage = run / "stages" / file, file.split("/")[0]
    content = bytearray(place.read_bytes())
    content[len(content) // 2] ^= 1
    place.write_bytes(content[:-40] if kind == "cut" else content)
    if kind == "missing":
        place.unlink()
    assert cli("run", recipe, f"out={run}")[0] == 0  # nothing reads them: all stages are done
    code, _, err = cli("run", recipe, f"out={run}", "stages.rl.settings.updates=1")
    (line,) = err.splitlines()
    assert code == 2 and str(place) in line and line.endswith(f"run again with --redo {stage}")
    code, out, err = cli("run", recipe, f"out={run}", "--redo", stage)
    assert code == 0, err
    verify_files(run / "stages" / stage, stage)
    again = ("data", "sft", "rl", "evaluate")
    assert [name for name in again if f"{name}: starts" in out] == list(again[again.index(stage) :])


def test_redo_runs_a_stage_and_what_depends_on_it(
    cli: Cli, small: tuple[Path, Path], copied: tuple[Path, Path]
) -> None:
    recipe, run = copied
    (run / "stages/rl/rollouts/00000.parquet").unlink()
    code, out, _ = cli("run", recipe, f"out={run}", "--redo", "rl", "--dry-run")
    assert code == 0 and [line.split()[2] for line in out.splitlines()[-4:]] == ["kept", "kept", "runs", "runs"]
    assert "done" not in out and not (run / "stages/rl/rollouts/00000.parquet").exists()
    code, out, err = cli("run", recipe, f"out={run}", "--redo", "rl")
    assert code == 0 and "sft: done before, kept" in out and "rl: starts" in out and "evaluate: starts" in out, err
    assert (run / "stages/rl/rollouts/00000.parquet").exists() and metrics(run) == metrics(small[1])
    code, _, err = cli("run", recipe, f"out={run}", "--redo", "grpo")
    assert code == 2 and err.strip().endswith(
        "--redo grpo: no stage of that name; the stages are data, sft, rl, evaluate"
    )


def test_a_redo_that_is_killed_at_once_is_gone_on_with(copied: tuple[Path, Path]) -> None:
    recipe = Recipe.model_validate({**recipe_of(), "out": str(copied[1])})
    domain = recipe.load_domain()
    assert [p.state for p in plan(recipe, domain)] == ["done"] * 4
    forget(redone(plan(recipe, domain), ["sft"]))  # and killed
    assert [p.state for p in plan(recipe, domain)] == ["done", "changed", "changed", "changed"]


def test_every_file_of_every_kind_of_stage_is_known(toy_run: Path, small: tuple[Path, Path]) -> None:
    for run in (toy_run, small[1]):
        for stage in (run / "stages").iterdir():
            names = {path.name for path in stage.iterdir()}
            assert [n for n in names if not any(fnmatch(n, known) for known in KNOWN)] == []
            record = json.loads((stage / "stage.json").read_text())
            files = {p.relative_to(stage).as_posix() for p in stage.rglob("*") if p.is_file()}
            assert files - {"stage.json", "started.json", *LATER} == record["files"].keys()
            verify_files(stage, stage.name)


def test_what_a_stage_has_recorded_is_ours_to_clear(tmp_path: Path) -> None:
    """Also a name that this version does not write."""
    (tmp_path / "stage.json").write_text('{"files": {"former.jsonl": [0, ""], "parts/1.json": [0, ""]}}')
    (tmp_path / "parts").mkdir()
    (tmp_path / "former.jsonl").touch()
    check_ours(tmp_path)
    (tmp_path / "mine.jsonl").touch()
    with pytest.raises(UserError, match=r"mine\.jsonl in it is not ours"):
        check_ours(tmp_path)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda stage: (stage / "thesis.txt").write_text("mine"), "thesis.txt in it is not ours"),
        (lambda stage: (stage / "checkpoint/model.gguf").write_text("mine"), "checkpoint/model.gguf in it is not ours"),
        (lambda stage: [(stage / n).unlink() for n in ("stage.json", "started.json")], "not the folder of a stage"),
    ],
)
def test_a_changed_stage_does_not_clear_what_is_not_ours(
    cli: Cli, copied: tuple[Path, Path], make: Callable[[Path], object], told: str
) -> None:
    recipe, run = copied
    make(run / "stages/sft")
    before = {path: path.read_bytes() for path in (run / "stages").rglob("*") if path.is_file()}
    for more in (["stages.sft.settings.epochs=2"], ["--redo", "data"]):
        code, _, err = cli("run", recipe, f"out={run}", *more)
        (line,) = err.splitlines()
        assert code == 2 and told in line and str(run / "stages/sft") in line
    assert {path: path.read_bytes() for path in (run / "stages").rglob("*") if path.is_file()} == before


def test_a_link_in_the_place_of_a_stage_is_not_followed_to_clear_it(
    cli: Cli, copied: tuple[Path, Path], tmp_path: Path
) -> None:
    recipe, run = copied
    (run / "stages/sft").rename(tmp_path / "elsewhere")
    (run / "stages/sft").symlink_to(tmp_path / "elsewhere")
    code, _, err = cli("run", recipe, f"out={run}", "stages.sft.settings.epochs=2")
    assert code == 2 and "this is none" in err and (tmp_path / "elsewhere/checkpoint").is_dir()


@pytest.mark.parametrize("name", ["stages/data/thesis.txt", "recipe.yaml", "report.html"])
def test_a_folder_of_something_else_is_no_run_folder(
    cli: Cli, small: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    mine = tmp_path / "mine" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    code, _, err = cli("run", small[0], f"out={tmp_path / 'mine'}")
    (line,) = err.splitlines()
    assert code == 2 and "not the folder of a run" in line and "name another folder with out=" in line
    assert [p for p in (tmp_path / "mine").rglob("*") if p.is_file()] == [mine] and mine.read_text() == "mine"


def test_a_file_in_the_place_of_the_run_folder(cli: Cli, small: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    code, _, err = cli("run", small[0], f"out={tmp_path / 'taken'}")
    assert code == 2 and "this is a file" in err and (tmp_path / "taken").read_text() == "mine"


HOLD = """
import sys, time
from pathlib import Path
from taosr_she.recipe.lock import only_process
with only_process(Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(60)
"""


def test_the_second_run_in_a_folder_is_one_line_and_a_dead_ones_lock_is_none(
    cli: Cli, copied: tuple[Path, Path]
) -> None:
    recipe, run = copied
    first = subprocess.Popen([sys.executable, "-c", HOLD, run], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None and first.stdout.readline() == "in\n"
    before = (run / "recipe.yaml").stat().st_mtime_ns
    code, _, err = cli("run", recipe, f"out={run}", "stages.rl.settings.updates=1")
    (line,) = err.splitlines()
    assert code == 2 and f"{run} is in use by process {first.pid} on " in line and " since 20" in line
    assert (run / "recipe.yaml").stat().st_mtime_ns == before
    assert cli("run", recipe, f"out={run}", "--dry-run")[0] == 0  # looking is no harm
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert cli("run", recipe, f"out={run}")[0] == 0


def test_after_ctrl_c_the_next_start_says_from_where(small: tuple[Path, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    more = [f"out={run}", "stages.rl.settings.updates=400", "stages.rl.settings.learning_rate=1e-5"]
    command = [sys.executable, "-m", "taosr_she.cli", "run", str(small[0]), *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    rows = run / "stages/rl/metrics.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (rows.is_file() and rows.read_text().count("\n") > 2):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    done = rows.read_text().count("\n")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ)
    assert process.stdout is not None
    said = next(line for line in process.stdout if line.startswith("rl: "))
    process.kill()
    process.communicate()
    assert said.startswith("rl: resumes after update ") and 2 <= int(said.split()[-1]) <= done
