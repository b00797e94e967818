"""`taosr-she bench precision`: our step in float32 and bfloat16 on the CPU, in turn; matrix rates beside it."""

import json
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
from rich.console import Console
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from taosr_she.bench.device import SHAPES
from taosr_she.bench.machine import PeakMemory, matrix_rate, needed_operations
from taosr_she.bench.our_step import OurStep
from taosr_she.bench.results import write_result
from taosr_she.bench.work import PROMPTS, Bench, Endless, StepSize
from taosr_she.engine.precision import computing, multiplies_bfloat16
from taosr_she.engine.shared_prefix import shared_logprobs

MATRIX = 2048
"""Rows and columns of the product whose rate stands beside the steps."""

Way = Literal["float32", "bfloat16"]
WAYS: dict[Way, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""What a step is computed in, and the type of the matrix product beside it."""


def measure_precision(console: Console, out: Path, shape: str, cell: StepSize, steps: int) -> None:
    """Measure, print, and write `precision-SHAPE.json` and `.md` to `out`. Medians over `steps` after one to warm up,
    during which memory is watched."""
    out.mkdir(parents=True, exist_ok=True)
    bench, cpu = Bench(), torch.device("cpu")
    tiny = bench.policy("tiny")
    prompts = bench.prompts(tiny, PROMPTS, cell.prompt)
    options = dict(SHAPES[shape])
    config = CONFIG_MAPPING[options.pop("model_type")](**options)
    sides = {}
    for way in WAYS:
        torch.manual_seed(1)
        policy = Endless(AutoModelForCausalLM.from_config(config), tiny.tokenizer, cpu)
        sides[way] = OurStep(policy, bench.domain, prompts, cell, precision=way)
    gaps = {way: logprob_gap(step, prompts) for way, step in sides.items()}
    taken: dict[Way, list[dict[str, float]]] = {way: [] for way in WAYS}
    rates: dict[Way, list[float]] = {way: [] for way in WAYS}
    memory: dict[Way, int] = {}
    for number in range(steps + 1):
        for way, step in sides.items():
            if number == 0:
                with PeakMemory() as watched:
                    taken[way].append(step())
                memory[way] = watched.rise
            else:
                taken[way].append(step())
            rates[way].append(matrix_rate(MATRIX, 0.5, cpu, WAYS[way]))
        line = "; ".join(
            f"{way}: " + ", ".join(f"{part} {s:.2f}" for part, s in rows[-1].items()) for way, rows in taken.items()
        )
        console.print(f"{number}: {line}", highlight=False)
    operations = needed_operations(config, PROMPTS, cell.prompt, cell.group, cell.response) * 3 / 4
    result: dict[str, Any] = {
        "shape": shape, "prompt": cell.prompt, "response": cell.response, "group": cell.group, "steps": steps,
        "threads": torch.get_num_threads(), "torch": torch.__version__, "multiplies_bfloat16": multiplies_bfloat16(),
        "update_operations": operations,
        "sides": {
            way: {
                "generation": (generation := median(row["generation"] for row in rows[1:])),
                "tokens_per_second": PROMPTS * cell.group * cell.response / generation,
                "update": (update := median(row["update"] for row in rows[1:])),
                "memory": memory[way], "matrix_rate": (rate := median(rates[way][1:])),
                "update_share_of_limit": operations / rate / update, **gaps[way],
            }
            for way, rows in taken.items()
        },
    }  # fmt: skip
    write_result(console, out, f"precision-{shape}", result, table(result))
    print(json.dumps(result))


def logprob_gap(step: OurStep, prompts: list[list[int]]) -> dict[str, float]:
    """How far log-probabilities of the trainer lie from those of the sampler before any update: mean and maximum."""
    rollouts = step.generate()
    with torch.no_grad(), computing(step.policy.model, step.settings.precision):
        found, _ = shared_logprobs(
            step.policy.model, prompts, rollouts.group, rollouts.ids, rollouts.mask, step.settings.sampling.temperature
        )
    gap = (found - rollouts.logprobs)[rollouts.mask].abs()
    return {"gap_mean": float(gap.mean()), "gap_max": float(gap.max())}


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    native = "" if result["multiplies_bfloat16"] else " This processor does not multiply bfloat16 itself."
    lines = [
        f"Shape of {result['shape']}, random weights, CPU, {result['threads']} threads, torch {result['torch']}; "
        f"{PROMPTS} prompts of {result['prompt']} tokens, responses of {result['response']}, G {result['group']}; "
        f"medians of {result['steps']} steps of each in turn. An update is forward pass, backward pass and AdamW. "
        f"Gap: log-probabilities of the trainer against the "
        f"sampler's, mean / maximum. The limit is the rate of a product of {MATRIX:,}.{native}",
        "",
        "| | matrix rate, GFLOP/s | generation, s | tokens/s | update, s | share of limit | memory | gap |",
        "| --- |" + " ---: |" * 7,
    ]
    for way, side in result["sides"].items():
        lines.append(
            f"| {way} | {side['matrix_rate'] / 1e9:,.0f} | {side['generation']:.2f} | "
            f"{side['tokens_per_second']:,.0f} | {side['update']:.2f} | {side['update_share_of_limit']:.0%} | "
            f"{side['memory'] / 2**20:,.0f} MiB | {side['gap_mean']:.1e} / {side['gap_max']:.1e} |"
        )
    return "\n".join(lines) + "\n"
