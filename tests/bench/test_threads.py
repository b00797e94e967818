"""Thread settings: each is measured in a process with that environment alone."""

import json
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from taosr_she.bench import threads


def test_every_setting_runs_in_its_own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", "77")
    seen: list[tuple[str | None, str | None, str, bool]] = []
    busy: list[bool] = []

    class Busy:
        def __enter__(self) -> None:
            busy.append(True)

        def __exit__(self, *_: object) -> None:
            busy.pop()

    def run(command: list[str], env: dict[str, str], **_: object) -> subprocess.CompletedProcess[str]:
        seen.append((env.get("GOMP_SPINCOUNT"), env.get("OMP_NUM_THREADS"), command[-1], bool(busy)))
        return subprocess.CompletedProcess(command, 0, stdout=f"{len(seen)}.5\n")

    monkeypatch.setattr(threads, "busy_process", Busy)
    monkeypatch.setattr(threads.subprocess, "run", run)
    threads.measure_threads(Console(), tmp_path, 1)
    settings = [(None, None, "0"), ("1000", None, "0"), ("1000", None, "1"), (None, "1", "0")]
    assert seen == [(*setting, place) for place in (False, True) for setting in settings]
    seconds = json.loads((tmp_path / "threads.json").read_text())["seconds"]
    assert list(seconds["quiet machine"].values()) == [1.5, 2.5, 3.5, 4.5]
    assert "| beside one busy process | 5.50 |" in (tmp_path / "threads.md").read_text()


def test_a_real_process_generates_and_tells_the_seconds() -> None:
    assert 0 < threads.in_process({"OMP_NUM_THREADS": "1"}, False, 1) < 300


def test_the_busy_process_runs_as_long_as_the_block() -> None:
    with threads.busy_process() as process:
        assert process.poll() is None
    assert process.poll() is not None
