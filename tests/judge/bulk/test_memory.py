"""The command judges a file of any length in the same memory, and what `kill -9` interrupts comes out the same."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from taosr_she.data.read import folder_files, read_pairs
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.prompt import render_prompt
from taosr_she.model.policy import save_policy
from taosr_she.model.tiny import TinyConfig, build_tiny

pytestmark = pytest.mark.slow
TINY = TinyConfig(hidden=32, layers=1, heads=2, kv_heads=1, ffn=32, vocab_size=600, max_positions=1024)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, for the domain `esci` with a short prompt."""
    domain = load_domain("esci").with_overrides({"prompt": {"instruction": "", "show_rules": False}})
    pairs = [Pair(f"p{i}", "q", f"boots {i}", Product("red boots")) for i in range(9)]
    folder = tmp_path_factory.mktemp("models") / "random"
    save_policy(build_tiny([render_prompt(domain, p) for p in pairs], domain, TINY, 1), folder)
    return folder


def command(model: Path, pairs: Path, out: Path) -> list[str]:
    judge = [sys.executable, "-m", "taosr_she.cli", "judge", str(model), str(pairs), "--out", str(out)]
    return [*judge, "--max-new-tokens", "2"]


def write_pairs_of(path: Path, count: int) -> None:
    """Rows of equal length; every hundredth has no title."""
    with path.open("w") as file:
        for n in range(count):
            title = "" if n % 100 == 99 else f"boots {n:07d} " + "with laces " * 3
            row = {"pair_id": f"p{n:07d}", "query": f"boots {n // 5:07d}", "title": title, "shelf": n}
            file.write(json.dumps(row) + "\n")


def peak_mb(arguments: list[str]) -> float:
    """Peak memory of a process."""
    child = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = status
    assert status == 0
    return usage.ru_maxrss / 1024


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "buffers_mb"), [("judged.parquet", 50), ("judged.csv", 25)])
def test_ten_times_the_pairs_take_no_more_memory(name: str, buffers_mb: int, model: Path, tmp_path: Path) -> None:
    """A writer of Parquet fills its buffers only with the longer file; from then on, they do not grow."""
    peaks = []
    for count in (4_000, 40_000):
        pairs = tmp_path / f"{count}.jsonl"
        write_pairs_of(pairs, count)
        peaks.append(peak_mb(command(model, pairs, tmp_path / name)))
        assert len(read_pairs(tmp_path / name)) == count * 99 // 100
    print(f"{name}: {peaks[0]:.0f} MB for 4,000 pairs, {peaks[1]:.0f} MB for 40,000")
    assert peaks[1] < peaks[0] + buffers_mb


@pytest.mark.timeout(900)
def test_killed_five_times_the_command_comes_to_the_same_file(model: Path, tmp_path: Path) -> None:
    pairs, out = tmp_path / "pairs.jsonl", tmp_path / "judged.parquet"
    write_pairs_of(pairs, 6_000)
    subprocess.run(command(model, pairs, out), check=True, stdout=subprocess.DEVNULL)
    expected = out.read_bytes()
    out.unlink()
    draw, folder = random.Random(7), tmp_path / "judged.parquet.parts"
    for life in range(5):
        process = subprocess.Popen(command(model, pairs, out), stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("  judging: "):
                break
        time.sleep(draw.uniform(0.05, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not out.exists(), f"life {life} came to its end: judge more pairs"
        for part in [] if not list(folder.glob("part-*.parquet")) else folder_files(folder):
            assert len(read_pairs(part)) == 1024
    last = subprocess.run(command(model, pairs, out), check=True, capture_output=True, text=True)
    assert "of 5940 pairs are judged already" in last.stdout.splitlines()[0]
    assert out.read_bytes() == expected and not folder.exists()
    ids = [pair.pair_id for pair in read_pairs(out)]
    assert len(set(ids)) == len(ids) == 5_940
