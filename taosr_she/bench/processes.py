"""`taosr-she bench processes`: a training step in one process with all threads, and in several with one thread each.

Each side is measured in processes of its own, started anew for every round; rounds of the two sides alternate.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from taosr_she.base.errors import UserError
from taosr_she.bench.results import write_result
from taosr_she.bench.work import StepSize

CELLS = (StepSize("tiny", 64, 96, 8), StepSize("tiny", 768, 64, 8), StepSize("30M", 64, 96, 8))
PARTS = ("generation", "examination", "update")


def measure_processes(console: Console, out: Path, processes: int, rounds: int, steps: int) -> None:
    """Print the table and write `processes.json` and `processes.md` to the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    cells = []
    for cell in CELLS:
        taken: dict[str, list[dict[str, float]]] = {"threads": [], "processes": []}
        for number in range(rounds):
            for side, count in (("threads", 1), ("processes", processes)):
                taken[side] += in_processes(cell, count, processes // count, steps)
                seconds = median(sum(step.values()) for step in taken[side])
                console.print(f"{cell.size} {cell.name}, round {number + 1}, {side}: {seconds:.2f} s", highlight=False)
        medians = {
            side: {part: median(step[part] for step in of_side) for part in PARTS}
            | {"step": median(sum(step.values()) for step in of_side)}
            for side, of_side in taken.items()
        }
        cells.append({"size": cell.size, "name": cell.name, **medians})
    result = {"cores": os.cpu_count(), "count": processes, "rounds": rounds, "steps": steps, "cells": cells}
    write_result(console, out, "processes", result, table(result))


def in_processes(cell: StepSize, processes: int, threads: int, steps: int) -> list[dict[str, float]]:
    """Seconds of the parts of `steps` steps, after one that warms up, in so many processes with so many threads."""
    inner = ["taosr_she.bench.processes", cell.size, *map(str, (cell.prompt, cell.response, cell.group, steps))]
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
    command = [sys.executable, "-m", *(torchrun if processes > 1 else []), *inner]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{processes} process(es) for {cell.size} ended with {done.returncode}: {done.stderr[-2000:]}")
    found: list[dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    count, rounds, steps = (result[key] for key in ("count", "rounds", "steps"))
    lines = [
        f"Seconds of a training step (8 prompts, float32), {result['cores']} cores: one process with {count} threads, "
        f"and {count} processes with one thread each. Medians of {rounds} alternating rounds of {steps} steps; split "
        "into generation / examination / update.",
        "",
        f"| model | prompt / response / group | 1 x {count} | split | {count} x 1 | split | speed-up |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for cell in result["cells"]:
        sides = [cell["threads"], cell["processes"]]
        shown = [
            f"{side['step']:.2f} | {' / '.join(f'{side[part]:.2f}' for part in PARTS)}" for side in sides
        ]  # fmt: skip
        ratio = sides[0]["step"] / sides[1]["step"]
        lines.append(f"| {cell['size']} | {cell['name']} | {shown[0]} | {shown[1]} | {ratio:.2f} |")
    return "\n".join(lines) + "\n"


def step_seconds(cell: StepSize, steps: int) -> list[dict[str, float]]:
    """What rank 0 measures."""
    from taosr_she.bench.our_step import OurStep
    from taosr_she.bench.work import PROMPTS, Bench

    bench = Bench()
    policy = bench.policy(cell.size)
    step = OurStep(policy, bench.domain, bench.prompts(policy, PROMPTS, cell.prompt), cell, precision="float32")
    return [step() for _ in range(steps + 1)][1:]


if __name__ == "__main__":
    from taosr_she.ranks.launch import joined

    with joined():
        size, *numbers = sys.argv[1:]
        prompt, response, group, steps = map(int, numbers)
        print(json.dumps(step_seconds(StepSize(size, prompt, response, group), steps)))
