"""`taosr-she bench precision`: alternating steps in float32 and bfloat16 on the CPU, optionally with LoRA."""

import json
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
from rich.console import Console
from transformers import AutoModelForCausalLM

from taosr_she.bench.machine import PeakMemory, matrix_rate, needed_operations
from taosr_she.bench.our_step import OurStep
from taosr_she.bench.results import write_result
from taosr_she.bench.shapes import shape_config
from taosr_she.bench.work import PROMPTS, Bench, Endless, StepSize
from taosr_she.engine.precision import computing, multiplies_bfloat16
from taosr_she.engine.shared_prefix import shared_logprobs
from taosr_she.model.lora import LoraConfig

MATRIX = 2048
"""Rows and columns of the matrix product whose rate is reported with the steps."""

Precision = Literal["float32", "bfloat16"]
WATCHED = 1
"""The step whose memory is measured, which takes time."""
TYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Precision of a step, and the type of the matrix product measured with it."""


def measure_precision(console: Console, out: Path, shape: str, cell: StepSize, steps: int, rank: int = 0) -> None:
    """Measure, print, and write `precision-SHAPE.json` and `.md` to `out`. Medians over `steps`, after one step to warm
    up and one to measure memory. With a `rank`, LoRA on all layers of the blocks is measured as well."""
    out.mkdir(parents=True, exist_ok=True)
    bench, cpu = Bench(), torch.device("cpu")
    tiny = bench.policy("tiny")
    prompts = bench.prompts(tiny, PROMPTS, cell.prompt)
    config = shape_config(shape)
    sides: dict[str, OurStep] = {}
    types: dict[str, torch.dtype] = {}
    for lora in (None, LoraConfig(rank=rank, alpha=2 * rank)) if rank else (None,):
        for precision, dtype in TYPES.items():
            torch.manual_seed(1)
            policy = Endless(AutoModelForCausalLM.from_config(config), tiny.tokenizer, cpu)
            way = f"{precision}, LoRA of rank {rank}" if lora else precision
            sides[way] = OurStep(policy, bench.domain, prompts, cell, precision=precision, lora=lora)
            types[way] = dtype
    gaps = {way: logprob_gap(step, prompts) for way, step in sides.items()}
    taken: dict[str, list[dict[str, float]]] = {way: [] for way in sides}
    rates: dict[str, list[float]] = {way: [] for way in sides}
    memory: dict[str, int] = {}
    for number in range(steps + WATCHED + 1):
        for way, step in sides.items():
            with PeakMemory() if number == WATCHED else nullcontext() as watched:
                taken[way].append(step())
            if watched:
                memory[way] = watched.rise
            rates[way].append(matrix_rate(MATRIX, 0.5, cpu, types[way]))
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
                "generation": (generation := median(row["generation"] for row in rows[WATCHED + 1 :])),
                "tokens_per_second": PROMPTS * cell.group * cell.response / generation,
                "update": (update := median(row["update"] for row in rows[WATCHED + 1 :])),
                "held": held(sides[way]), "memory": memory[way],
                "matrix_rate": (rate := median(rates[way][WATCHED + 1 :])),
                "update_share_of_limit": operations / rate / update, **gaps[way],
            }
            for way, rows in taken.items()
        },
    }  # fmt: skip
    write_result(console, out, f"precision-{shape}", result, table(result))
    print(json.dumps(result))


def held(step: OurStep) -> int:
    """Bytes of the weights and of the optimizer state."""
    state = (t for kept in step.optimizer.state.values() for t in kept.values() if isinstance(t, torch.Tensor))
    return sum(t.numel() * t.element_size() for t in (*step.policy.model.parameters(), *state))


def logprob_gap(step: OurStep, prompts: list[list[int]]) -> dict[str, float]:
    """Distance between log-probabilities of the trainer and the sampler before any update: mean and maximum."""
    rollouts = step.generate()
    with torch.no_grad(), computing(step.policy.model, step.settings.precision):
        found, _ = shared_logprobs(
            step.policy.model, prompts, rollouts.group, rollouts.ids, rollouts.mask, step.settings.sampling.temperature
        )
    gap = (found - rollouts.logprobs)[rollouts.mask].abs()
    return {"gap_mean": float(gap.mean()), "gap_max": float(gap.max())}


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    native = "" if result["multiplies_bfloat16"] else " This processor has no instructions for bfloat16 products."
    lines = [
        f"Shape of {result['shape']}, random weights, CPU, {result['threads']} threads, torch {result['torch']}; "
        f"{PROMPTS} prompts of {result['prompt']} tokens, responses of {result['response']}, G {result['group']}; "
        f"medians of {result['steps']} alternating steps of each. An update is forward pass, backward pass and AdamW. "
        "Gap: difference of log-probabilities between trainer and sampler, mean / maximum. The limit is the time that "
        f"an update of all weights would take at the measured rate of a product of {MATRIX:,}. "
        f"Held: weights and optimizer. Rise: increase of memory during a step.{native}",
        "",
        "| | matrix rate, GFLOP/s | generation, s | tokens/s | update, s | share of limit | held | rise | gap |",
        "| --- |" + " ---: |" * 8,
    ]
    for way, side in result["sides"].items():
        lines.append(
            f"| {way} | {side['matrix_rate'] / 1e9:,.0f} | {side['generation']:.2f} | "
            f"{side['tokens_per_second']:,.0f} | {side['update']:.2f} | {side['update_share_of_limit']:.0%} | "
            f"{side['held'] / 2**20:,.0f} MiB | {side['memory'] / 2**20:,.0f} MiB | "
            f"{side['gap_mean']:.1e} / {side['gap_max']:.1e} |"
        )
    return "\n".join(lines) + "\n"
