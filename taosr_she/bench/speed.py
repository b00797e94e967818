"""`taosr-she bench speed`: our step and TRL's on the same work, alternating in one run."""

import json
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console

from taosr_she.bench.judge_speed import growth, judge_speed
from taosr_she.bench.machine import PeakMemory, matrix_rate, needed_operations
from taosr_she.bench.our_step import OurStep
from taosr_she.bench.results import write_result
from taosr_she.bench.trl_step import WATCHED, run_trl
from taosr_she.bench.work import PROMPTS, Bench, StepSize

QUICK = [StepSize("tiny", 64, 96, 8), StepSize("tiny", 768, 64, 8)]
FULL = [
    *QUICK,
    *(StepSize("tiny", 64, 96, group) for group in (4, 16)),
    *(StepSize("tiny", prompt, 64, 8) for prompt in (64, 256)),
    *(StepSize("tiny", prompt, 192, 8) for prompt in (64, 768)),
    *(StepSize("tiny", prompt, response, 8, 0.5) for prompt, response in ((64, 96), (768, 64))),
    *(StepSize("30M", prompt, response, 8) for prompt, response in ((64, 96), (768, 64))),
]
LARGE = [StepSize("smollm2-135m", 64, 48, 8, precision=precision) for precision in ("float32", "bfloat16")]
"""A model of a size that a CPU can still train; a step of TRL takes about a minute."""
PARTS = ("generation", "examination", "update", "rest")


def measure_large(console: Console, out: Path, quick: bool, steps: int) -> None:
    """Only the steps of the larger model (`LARGE`; quick: the last one): `speed-large.json` and `.md`."""
    rows = measure_cells(console, Bench(), LARGE[-1:] if quick else LARGE, steps)
    out.mkdir(parents=True, exist_ok=True)
    result = head(steps) | {"cells": rows}
    write_result(console, out, "speed-large", result, table(result))
    print(json.dumps(result))


def measure_cells(console: Console, bench: Bench, cells: Sequence[StepSize], steps: int) -> list[dict[str, Any]]:
    """The rows of these cells. A line says what is measured, and another one what was found."""
    rows = []
    for cell in cells:
        console.print(f"{_cell(asdict(cell))}: {WATCHED + 1 + steps} steps of each side", highlight=False)
        rows.append(measure_cell(bench, cell, steps))
        console.print(_line(rows[-1]), highlight=False)
    return rows


def head(steps: int) -> dict[str, Any]:
    """What all rows share."""
    return {
        "trl": version("trl"), "torch": torch.__version__, "threads": torch.get_num_threads(), "steps": steps
    }  # fmt: skip


def measure_speed(console: Console, out: Path, quick: bool, steps: int) -> None:
    """Measure, print and write `speed.json`, `speed.md` and `speed.png` to the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    bench = Bench()
    rows = measure_cells(console, bench, QUICK if quick else FULL, steps)
    judging = judge_speed(bench, 50 if quick else 200, 1 if quick else 3)
    result = head(steps) | {"cells": rows, "judge": judging, "growth": {} if quick else growth(bench, steps)}
    write_result(console, out, "speed", result, table(result))
    plot(rows, out / "speed.png")
    print(json.dumps(result))


def measure_cell(bench: Bench, cell: StepSize, steps: int) -> dict[str, Any]:
    """Medians over `steps` steps of each side; the sides alternate.

    Two steps of each come first and are not timed: a warm-up step, and one to measure memory, which takes extra time.
    """
    ours: list[dict[str, float]] = []
    rates: list[float] = []
    policy = bench.policy(cell.size)
    prompts = bench.prompts(policy, PROMPTS, cell.prompt)
    step = OurStep(policy, bench.domain, prompts, cell, precision=cell.precision)  # as TRL's
    dtype = torch.bfloat16 if cell.precision == "bfloat16" else torch.float32

    def our_turn() -> None:
        with PeakMemory() if len(ours) == WATCHED else nullcontext() as memory:
            started = time.perf_counter()
            parts = step()
            total = time.perf_counter() - started
        rise = memory.rise if memory else 0
        ours.append({**parts, "rest": total - sum(parts.values()), "total": total, "memory": rise})
        rates.append(matrix_rate(seconds=0.3, dtype=dtype))  # measured between the steps, under the same load

    theirs = run_trl(bench.policy(cell.size), prompts, cell, steps + 1 + WATCHED, our_turn)
    tokens = PROMPTS * cell.group * cell.response
    sides = {}
    for name, taken in (("ours", ours), ("trl", theirs)):
        sides[name] = {key: median(row[key] for row in taken[WATCHED + 1 :]) for key in (*PARTS, "total")}
        sides[name]["memory"] = taken[WATCHED]["memory"]
        sides[name]["tokens_per_second"] = tokens / sides[name]["generation"]
    live = 1 - cell.silent / PROMPTS
    config = policy.model.config
    operations = needed_operations(config, PROMPTS, cell.prompt, cell.group, cell.response, live)
    return {
        **asdict(cell), **sides, "factor": sides["trl"]["total"] / sides["ours"]["total"],
        "matrix_rate": median(rates), "operations": operations,
        "share_of_limit": operations / median(rates) / sides["ours"]["total"],
    }  # fmt: skip


def _cell(row: dict[str, Any]) -> str:
    return (
        f"{row['size']}, {row['precision']}, prompt {row['prompt']}, response {row['response']}, G {row['group']}, "
        f"without signal {row['no_signal']:.0%}"
    )


def _line(row: dict[str, Any]) -> str:
    return (
        f"{_cell(row)}: ours {row['ours']['total']:.2f} s, TRL {row['trl']['total']:.2f} s, "
        f"speed-up {row['factor']:.1f}"
    )


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    precisions = sorted({row["precision"] for row in result["cells"]})
    named = " and ".join(precisions)
    lines = [
        f"One step: {PROMPTS} prompts, one update, {named} on the CPU, {result['threads']} threads, medians of "
        f"{result['steps']} alternating steps of each side. TRL {result['trl']}, torch {result['torch']}. Seconds are "
        "split into generation / examination / forward and backward pass / rest. Memory is the increase during a step. "
        "The limit is the time that the needed operations would take at the measured rate of a large matrix product.",
        "",
        "| model | prompt | response | G | no signal | ours, s | split | TRL, s | split | speed-up | tokens/s, ours "
        "| tokens/s, TRL | memory, ours | memory, TRL | share of limit |",
        "| --- |" + " ---: |" * 14,
    ]
    for row in result["cells"]:
        sides = []
        for side in (row["ours"], row["trl"]):
            sides += [f"{side['total']:.2f}", " / ".join(f"{side[p]:.2f}" for p in PARTS)]
        cells = [
            f"{row['size']}, {row['precision']}" if len(precisions) > 1 else row["size"],
            row["prompt"], row["response"], row["group"], f"{row['no_signal']:.0%}", *sides,
            f"{row['factor']:.1f}", *(f"{row[s]['tokens_per_second']:,.0f}" for s in ("ours", "trl")),
            *(f"{row[s]['memory'] / 2**20:,.0f} MiB" for s in ("ours", "trl")), f"{row['share_of_limit']:.0%}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    if "judge" not in result:
        return "\n".join(lines) + "\n"
    judge = result["judge"]
    lines += [
        "",
        f"Judging one query against {judge['products']} products (tiny model): {judge['pairs_per_second']:.1f} pairs "
        f"per second, against {judge['copied']:.1f} when every pair has its own prompt: a speed-up of "
        f"{judge['factor']:.1f}.",
    ]
    if result["growth"]:
        grown = ", ".join(f"{name} {factor:.2f}" for name, factor in result["growth"].items())
        lines += ["", f"Growth of the step time when one size is doubled (2 is linear): {grown}."]
    return "\n".join(lines) + "\n"


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """A step of both sides, split by part, as a share of TRL's step time: steps of 1 s and 60 s fit in one plot."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.5 * len(rows)), layout="constrained")
    colours = dict(zip(PARTS, ("#4477aa", "#ccbb44", "#ee6677", "#bbbbbb"), strict=True))
    for position, row in enumerate(rows):
        for side, shift in (("ours", -0.2), ("trl", 0.2)):
            left, whole = 0.0, row["trl"]["total"]
            for part in PARTS:
                label = part if position == 0 and side == "ours" else None
                share = row[side][part] / whole
                axes.barh(position + shift, share, 0.36, left=left, color=colours[part], label=label)
                left += share
            text = f"ours {row[side]['total']:.2f} s: 1/{row['factor']:.1f}" if side == "ours" else f"TRL {whole:.2f} s"
            axes.annotate(f" {text}", (left, position + shift), va="center", fontsize=8)
    names = [f"{r['size']} {r['prompt']}/{r['response']} G{r['group']} {r['no_signal']:.0%}" for r in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylabel("model, prompt/response tokens, group size, without signal")
    axes.invert_yaxis()
    axes.set_xlim(0, 1.2)
    axes.set_xlabel("time of a step, TRL's step of the same work = 1")
    figure.legend(loc="outside upper center", ncols=len(PARTS))
    figure.savefig(path, dpi=120)
    plt.close(figure)
