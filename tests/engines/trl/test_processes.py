"""TRL in two processes, started by accelerate with the shipped configurations; and what happens when one ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from taosr_she.bench.trl_equal import CONFIGS, WAYS, measure_trl
from taosr_she.recipe.config import load_recipe

OURS = "taosr-she: "
RECIPE = """
name: trl
seed: 1
device: cpu
domain_overrides: {prompt: {instruction: "", show_labels: false, show_rules: false, show_format: false}}
stages:
  data:
    kind: market
    market: {demonstration_pairs: 200, training_pairs: 60, development_pairs: 20, test_pairs: 20}
    probe_share: 0.2
  sft:
    kind: sft
    tiny: {hidden: 32, layers: 2, heads: 2, kv_heads: 1, ffn: 64}
    settings: {epochs: 2, batch_size: 16, learning_rate: 4.0e-3}
  srpo:
    kind: rl
    engine: trl
    settings: {updates: 12, pairs_per_update: 4, group_size: 4, checkpoint_every: 2, sampling: {max_new_tokens: 40}}
  again: {kind: sft, start: srpo, settings: {engine: trl, epochs: 1, batch_size: 16, learning_rate: 1.0e-4}}
  evaluate: {kind: evaluate, models: [sft, srpo, again], max_new_tokens: 40, resamples: 100}
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_the_updates_of_our_own_loop(way: str, tmp_path: Path) -> None:
    found = measure_trl(Console(), tmp_path, tmp_path / "work", 2, [way])["ways"][way]
    assert max(found[name] for name in ("loss", "grad_norm", "entropy", "kl")) < 1e-5
    assert found["weights"] < 1e-3 and found["moved"] > 1e-3 > 100 * found["apart"]
    assert f"| {way} |" in (tmp_path / "trl.md").read_text()


def begin(config: str, *arguments: object) -> subprocess.Popen[str]:
    """The command line in two processes."""
    command = [
        sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--config_file",
        str(CONFIGS / f"{config}.yaml"), "--num_processes", "2", "--main_process_port", "0", "-m", "taosr_she",
        *map(str, arguments),
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> list[str]:
    """Our own lines on standard error; accelerate and torchrun have some too."""
    _, said = process.communicate(timeout=280)
    return [line for line in said.splitlines() if line.startswith(OURS)]


def rank_of(parent: int, rank: int) -> int:
    """The number of a process of the run."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(words[1]) == parent and f"RANK={rank}" in (folder / "environ").read_text().split("\0"):
                return int(folder.name)
        except OSError:
            continue  # it has just ended
    raise AssertionError(f"no process {rank}")


def rows(out: Path, stage: str) -> list[dict[str, Any]]:
    path = out / "stages" / stage / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def killed(run: subprocess.Popen[str], rank: int, when: Callable[[], bool]) -> list[str]:
    """Our lines after `kill -9` of a process, some time after `when`."""
    started = time.monotonic()
    while not when():
        assert run.poll() is None and time.monotonic() - started < 200, run.communicate()
        time.sleep(0.05)
    os.kill(rank_of(run.pid, rank), signal.SIGKILL)
    at = time.monotonic()
    said = end(run)
    assert run.returncode != 0 and time.monotonic() - at < 45
    return said


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_recipe_with_fsdp2_is_killed_and_goes_on(tmp_path: Path) -> None:
    recipe, out = tmp_path / "trl.yaml", tmp_path / "run"
    recipe.write_text(RECIPE)
    said = killed(begin("fsdp2", "run", recipe, f"out={out}"), 1, lambda: len(rows(out, "srpo")) >= 3)
    assert len(said) == 1 and "what was saved is kept: start it again" in said[0], said
    run = begin("fsdp2", "run", recipe, f"out={out}")
    assert end(run) == [] and run.returncode == 0
    assert [row["step"] for row in rows(out, "srpo")] == list(range(1, 13))
    assert "srpo: resumes after step" in (out / "run.log").read_text()
    found = json.loads((out / "stages/evaluate/results.json").read_text())["models"]
    assert set(found) == {"sft", "srpo", "again"} and (out / "report.html").is_file()
    assert load_recipe(str(out / "recipe.yaml")).stages["srpo"].engine == "trl"  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    recipe = tmp_path / "trl.yaml"
    recipe.write_text(RECIPE.replace("group_size: 4, checkpoint_every", "group_size: 3, checkpoint_every"))
    run = begin("ddp", "run", recipe, f"out={tmp_path / 'run'}", "stages.srpo.settings.pairs_per_update=3")
    (said,) = end(run)
    assert run.returncode != 0 and "9 responses cannot be divided equally among 2 processes" in said
