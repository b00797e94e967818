"""Whole runs under torchrun: the same results as alone, and what happens when a process is killed."""

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
from toy_ranks import free_port

from taosr_she.data.write import write_pairs
from taosr_she.domain.pair import Pair, Product

OURS = "taosr-she: "
SMALL = ["smoke", "stages.data.market.demonstration_pairs=400", "stages.grpo.settings.updates=10"]
LIMIT = 20.0
"""Seconds from a kill until torchrun has ended."""


def begin(*arguments: object, processes: int = 2) -> subprocess.Popen[str]:
    """The command line, in processes that torchrun starts."""
    under = ["torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", str(free_port()), "-m"]
    command = [sys.executable, "-m", *(under if processes > 1 else []), "taosr_she", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> list[str]:
    """Our own lines on standard error; torchrun has some too."""
    _, said = process.communicate(timeout=280)
    assert "taosr_she/" not in said, said  # a stack trace
    return [line for line in said.splitlines() if line.startswith(OURS)]


def process_of(torchrun: subprocess.Popen[str], rank: int) -> int:
    """The number of one of the processes of a torchrun."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == torchrun.pid and f"RANK={rank}" in (folder / "environ").read_text().split("\0"):
                return int(folder.name)
        except OSError:
            continue  # it has just ended
    raise AssertionError(f"torchrun has no process {rank}")


def rows(out: Path, stage: str) -> list[dict[str, Any]]:
    path = out / "stages" / stage / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def killed(torchrun: subprocess.Popen[str], rank: int, when: Callable[[], bool]) -> list[str]:
    """Our lines after `kill -9` of a process, some time after `when`."""
    started = time.monotonic()
    while not when():
        assert torchrun.poll() is None and time.monotonic() - started < 250, torchrun.communicate()
        time.sleep(0.05)
    os.kill(process_of(torchrun, rank), signal.SIGKILL)
    at = time.monotonic()
    said = end(torchrun)
    assert torchrun.returncode != 0 and time.monotonic() - at < LIMIT
    return said


@pytest.mark.slow
def test_the_smoke_recipe_in_two_processes(tmp_path: Path) -> None:
    """All stages, those of TRL in rank 0. After a few updates, a token may be drawn differently by a hair."""
    for processes in (2, 1):
        run = begin("run", "smoke", f"out={tmp_path / str(processes)}", processes=processes)
        assert end(run) == [] and run.returncode == 0
    two, one = (tmp_path / n for n in "21")
    assert json.loads((two / "environment.json").read_text())["processes"] == 2
    assert "processes" not in json.loads((one / "environment.json").read_text())
    assert {p.name for p in two.rglob("*")} == {p.name for p in one.rglob("*")}
    losses = [[row["loss"] for row in rows(out, "sft")] for out in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
    for stage in ("grpo", "srpo", "hybrid"):
        a, b = (rows(out, stage)[0] for out in (one, two))
        for key in ("reward", "signal_share", "length", "loss", "entropy"):
            assert a[key] == pytest.approx(b[key], rel=1e-2, abs=1e-3), (stage, key)
    results = [json.loads((out / "stages/evaluate/results.json").read_text())["models"] for out in (one, two)]
    assert results[0].keys() == results[1].keys()
    assert results[0]["sft"]["metrics"]["macro_f1"] == pytest.approx(results[1]["sft"]["metrics"]["macro_f1"], abs=0.02)


@pytest.mark.slow
def test_a_killed_process_ends_all_with_one_line_and_one_process_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = begin("run", *SMALL, f"out={out}")
    (said,) = killed(run, 1, lambda: len(rows(out, "grpo")) >= 3)
    assert "what was saved is kept: start it again, with any number of processes" in said
    run = begin("run", *SMALL, f"out={out}", processes=3)
    (said,) = killed(run, 0, lambda: len(rows(out, "grpo")) >= 6)
    assert "process 0 of this run, which leads the others, has ended" in said
    before = len(rows(out, "grpo"))
    assert before >= 6
    run = begin("run", *SMALL, f"out={out}", processes=1)
    assert end(run) == [] and run.returncode == 0
    assert [row["step"] for row in rows(out, "grpo")] == list(range(1, 11))
    assert "grpo: resumes" in (out / "run.log").read_text()


@pytest.mark.slow
def test_judging_and_evaluating(saved: Path, tmp_path: Path) -> None:
    """The same files: each process judges batches that one process would judge too."""
    pairs = [
        Pair(f"p{i}", f"q{i // 4}", f"red shoes {i // 4}", Product(f"shoes of color {i}"), label="1234"[i % 4])
        for i in range(256)
    ]
    write_pairs(tmp_path / "pairs.jsonl", pairs)
    found = {}
    for processes in (2, 1):
        out = tmp_path / str(processes)
        where = (saved, tmp_path / "pairs.jsonl", "--max-new-tokens", 8, "--domain", "taobao", "--out")
        for run in (
            begin("judge", *where, out / "judged.jsonl", processes=processes),
            begin("evaluate", *where, out / "evaluation", processes=processes),
        ):
            assert end(run) == [] and run.returncode == 0
        found[processes] = [(out / name).read_bytes() for name in ("judged.jsonl", "evaluation/predictions.jsonl")]
    assert found[2] == found[1] and len(found[1][0].splitlines()) == 256


@pytest.mark.slow
def test_a_mistake_of_the_user_is_one_line(tmp_path: Path) -> None:
    run = begin("run", "smoke", "seed=many", f"out={tmp_path / 'run'}")
    (said,) = end(run)
    assert "seed" in said and run.returncode != 0
    run = begin("serve", tmp_path)
    (said,) = end(run)
    assert said == "taosr-she: serve: runs in one process; start it without torchrun"
