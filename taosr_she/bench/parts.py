"""`taosr-she bench parts`: ablation, the time of our step without each speed-up."""

from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from taosr_she.bench.our_step import OurStep
from taosr_she.bench.results import write_result
from taosr_she.bench.speed import QUICK
from taosr_she.bench.work import PROMPTS, Bench, StepSize
from taosr_she.engine.speedups import without

WITHOUT: dict[str, tuple[str, ...]] = {
    "nothing left out": (),
    "without the lean pass (`engine/runner.py`)": ("lean_pass",),
    "without attention in two parts (`engine/two_part.py`)": ("split_attention",),
    "without copies of small prompts (`engine/decode.py`)": ("copied_prompts",),
    "without shared prompts: every row its own": ("shared_prompts",),
}
"""Row of the table -> the speed-ups that are switched off (`engine/speedups.py`)."""


def measure_parts(console: Console, out: Path, steps: int) -> None:
    """Print the table and write `parts.json` and `parts.md` to the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    bench = Bench()
    seconds = {}
    for cell in QUICK:
        console.print(f"{cell.name}: {steps} steps of each of {len(WITHOUT)} variants", highlight=False)
        seconds[cell.name] = measure_cell(bench, cell, steps)
    result: dict[str, Any] = {"steps": steps, "seconds": seconds}
    write_result(console, out, "parts", result, table(result))


def measure_cell(bench: Bench, cell: StepSize, steps: int) -> dict[str, dict[str, float]]:
    """Seconds of generation and update for each variant: medians over `steps` alternating steps after a warm-up."""
    policy = bench.policy(cell.size)
    step = OurStep(policy, bench.domain, bench.prompts(policy, PROMPTS, cell.prompt), cell)
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in WITHOUT}
    for _ in range(steps + 1):
        for name, left_out in WITHOUT.items():
            with without(*left_out):
                taken[name].append(step())
    return {
        name: {part: median(row[part] for row in rows[1:]) for part in ("generation", "update")}
        for name, rows in taken.items()
    }


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    seconds = result["seconds"]
    lines = [
        f"Tiny model, {PROMPTS} prompts, prompt / response / group size. Seconds of generation and update, medians of "
        f"{result['steps']} alternating steps of each variant.",
        "",
        "| | " + " | ".join(f"{cell}: generation | update" for cell in seconds) + " |",
        "| --- |" + " ---: |" * (2 * len(seconds)),
    ]
    for name in WITHOUT:
        figures = [f"{rows[name][part]:.2f}" for rows in seconds.values() for part in ("generation", "update")]
        lines.append(f"| {name} | " + " | ".join(figures) + " |")
    return "\n".join(lines) + "\n"
