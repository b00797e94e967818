"""`taosr-she bench threads`: which thread settings suit this machine, both quiet and with another busy process.

OpenMP reads its settings once, when torch is imported. So each setting is measured in a process of its own.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from taosr_she.bench.results import write_result

SETTINGS: dict[str, tuple[dict[str, str], bool]] = {
    "default": ({}, False),
    "GOMP_SPINCOUNT=1000": ({"GOMP_SPINCOUNT": "1000"}, False),
    "the same, all threads in generation": ({"GOMP_SPINCOUNT": "1000"}, True),
    "OMP_NUM_THREADS=1": ({"OMP_NUM_THREADS": "1"}, False),
}
"""Column -> environment variables, and whether generation uses all threads where `engine/threads.py` would use one."""
VARIABLES = ("GOMP_SPINCOUNT", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")
LOADS = ("quiet machine", "beside one busy process")


def measure_threads(console: Console, out: Path, steps: int) -> None:
    """Print the table and write `threads.json` and `threads.md` to the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, dict[str, float]] = {load: {} for load in LOADS}
    for load in LOADS:
        for name, (environment, all_threads) in SETTINGS.items():
            with busy_process() if load == LOADS[1] else nullcontext():
                seconds[load][name] = in_process(environment, all_threads, steps)
            console.print(f"{load}, {name}: {seconds[load][name]:.2f} s", highlight=False)
    result: dict[str, Any] = {"cores": os.cpu_count(), "steps": steps, "seconds": seconds}
    write_result(console, out, "threads", result, table(result))


def in_process(environment: dict[str, str], all_threads: bool, steps: int) -> float:
    """Seconds of generation per step in a new process: the median of `steps` steps after a warm-up step.

    Of the environment variables that control threads, the process has only those in `environment`.
    """
    done = subprocess.run(
        [sys.executable, "-m", "taosr_she.bench.threads", str(steps), str(int(all_threads))],
        env={k: v for k, v in os.environ.items() if k not in VARIABLES} | environment,
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return float(done.stdout.split()[-1])


@contextmanager
def busy_process() -> Iterator[subprocess.Popen[bytes]]:
    """One process that keeps a core busy for as long as the block runs."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        f"Seconds of generation (64 / 96 / G 8, tiny model, 8 prompts), {result['cores']} cores, medians of "
        f"{result['steps']} steps, each setting in a process of its own.",
        "",
        "| | " + " | ".join(f"`{name}`" if "=" in name else name for name in SETTINGS) + " |",
        "| --- |" + " ---: |" * len(SETTINGS),
    ]
    for load, row in result["seconds"].items():
        lines.append(f"| {load} | " + " | ".join(f"{row[name]:.2f}" for name in SETTINGS) + " |")
    return "\n".join(lines) + "\n"


def generation_seconds(steps: int, all_threads: bool) -> float:
    """The measurement that each process makes: median seconds of generation per step."""
    from taosr_she.bench.speed import QUICK
    from taosr_she.bench.work import PROMPTS, Bench
    from taosr_she.engine import threads
    from taosr_she.model.sampler import Sampling, sample_groups

    if all_threads:
        threads.SMALL = 0
    cell, bench = QUICK[0], Bench()
    policy = bench.policy(cell.size)
    prompts = bench.prompts(policy, PROMPTS, cell.prompt)
    taken = []
    for seed in range(steps + 1):
        started = time.perf_counter()
        sample_groups(policy, prompts, cell.group, Sampling(max_new_tokens=cell.response), seed)
        taken.append(time.perf_counter() - started)
    return median(taken[1:])


if __name__ == "__main__":
    print(generation_seconds(int(sys.argv[1]), sys.argv[2] == "1"))
