"""`taosr-she bench device`: our step and plain transformers' on the same work, alternating; on a GPU if possible."""

import json
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from transformers import AutoModelForCausalLM
from transformers import __version__ as transformers_version

from taosr_she.bench.kernels import watch_kernels
from taosr_she.bench.machine import matrix_rate, needed_operations
from taosr_she.bench.our_step import OurStep
from taosr_she.bench.plain_step import PlainStep
from taosr_she.bench.results import write_result
from taosr_she.bench.shapes import shape_config
from taosr_she.bench.work import PROMPTS, Bench, Endless, StepSize
from taosr_she.engine.precision import computing, count_weights, in_bfloat16
from taosr_she.engine.speedups import without
from taosr_she.model.policy import Policy, resolve_device

LEFT_OUT = {"ours, no graphs": ("recorded_steps",)}
"""Side -> the speed-ups that are switched off for it."""
WATCHED = 16
"""Number of tokens of a response whose kernels are profiled."""


def measure_device(console: Console, out: Path, shape: str, cell: StepSize, steps: int, tokens: int) -> None:
    """Measure, print, and write `device-SHAPE.json` and `.md` to `out`. Medians over `steps` steps after a warm-up.

    `tokens` is the size of a micro-batch in the updates of both sides.
    """
    out.mkdir(parents=True, exist_ok=True)
    device = resolve_device("auto")
    cuda = device.type == "cuda"
    bench = Bench()
    torch.manual_seed(1)
    config = shape_config(shape)
    prompts = bench.prompts(bench.policy("tiny"), PROMPTS, cell.prompt)
    tokenizer = bench.policy("tiny").tokenizer

    def policy() -> Policy:
        with device:
            return Endless(AutoModelForCausalLM.from_config(config), tokenizer, device)

    ours = OurStep(policy(), bench.domain, prompts, cell, tokens)
    plain = PlainStep(policy(), prompts, cell, tokens, lambda: computing(ours.policy.model, ours.settings.precision))
    steps_of: dict[str, Callable[[], dict[str, float]]] = {"ours": ours, "plain": plain}
    if cuda:
        steps_of["ours, no graphs"] = ours
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in steps_of}
    memory = dict.fromkeys(taken, 0)
    rates: list[float] = []
    # The update (forward and backward) costs three of the four forward passes that a whole step amounts to.
    operations = needed_operations(config, PROMPTS, cell.prompt, cell.group, cell.response) * 3 / 4
    rounded = in_bfloat16(device, count_weights(ours.policy.model))
    head: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if cuda else "cpu", "date": date.today().isoformat(), "shape": shape,
        "precision": "bfloat16 autocast" if rounded else "float32", "torch": torch.__version__,
        "transformers": transformers_version, "prompts": PROMPTS, "prompt": cell.prompt, "response": cell.response,
        "group": cell.group, "tokens_per_microbatch": tokens,
    }  # fmt: skip
    result: dict[str, Any] = {}
    for number in range(steps + 1):
        for name in list(taken):
            if cuda:
                torch.cuda.reset_peak_memory_stats()
            try:
                with without(*LEFT_OUT.get(name, ())):
                    taken[name].append(steps_of[name]())
            except torch.OutOfMemoryError:
                console.print(f"{name}: out of memory, left out; lower --tokens", highlight=False)
                del taken[name], memory[name]
                continue
            if cuda:
                memory[name] = torch.cuda.max_memory_allocated()
        rates.append(matrix_rate(8192 if cuda else 1536, 0.5, device, torch.bfloat16 if rounded else torch.float32))
        console.print(f"{number}: " + spoken({name: rows[-1] for name, rows in taken.items()}), highlight=False)
        if number:  # written after each round, because a run can be cut off
            result = head | {"steps": number} | figures(taken, memory, operations, median(rates), cell)
            write_result(console, out, f"device-{shape}", result, table(result))
    if cuda:
        result["kernels"] = watched(ours)
        write_result(console, out, f"device-{shape}", result, table(result))
    print(json.dumps(result))


def figures(
    taken: Mapping[str, list[dict[str, float]]],
    memory: Mapping[str, int],
    operations: float,
    rate: float,
    cell: StepSize,
) -> dict[str, Any]:
    """Medians over the rounds after the first, and what follows from them."""
    sides: dict[str, Any] = {
        name: {part: median(row.get(part, 0.0) for row in rows[1:]) for part in rows[0]}
        | {"total": median(sum(row.values()) for row in rows[1:]), "memory": memory[name]}
        for name, rows in taken.items()
    }
    for side in sides.values():
        side["tokens_per_second"] = PROMPTS * cell.group * cell.response / side["generation"]
    ours, plain = sides["ours"], sides.get("plain")
    factors = {} if plain is None else {part: plain[part] / ours[part] for part in ("total", "generation", "update")}
    return {
        "sides": sides, "factors": factors, "operations": operations, "matrix_rate": rate,
        "update_share_of_limit": operations / rate / ours["update"],
    }  # fmt: skip


def spoken(steps: Mapping[str, Mapping[str, float]]) -> str:
    """One line: for each side, the seconds of each part of a step."""
    return "; ".join(
        f"{name} " + ", ".join(f"{part} {s:.3f}" for part, s in row.items()) for name, row in steps.items()
    )


def watched(step: OurStep) -> dict[str, dict[str, Any]]:
    """The device's work in each part of our step (see `watch_kernels`).

    Of generation only the first tokens are profiled, because the profiler is slow when there are many launches.
    """
    batch = step.credit(step.generate())
    seen = {}
    for more, left_out in (("", ()), (", no graphs", ("recorded_steps",))):
        with without(*left_out):
            seen[f"generation of {WATCHED} tokens{more}"] = watch_kernels(lambda: step.generate(WATCHED))
    return seen | {"update": watch_kernels(lambda: step.update(batch))}


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        f"{result['device']}, {result['date']}; shape of {result['shape']}, random weights, {result['precision']}; "
        f"{result['prompts']} prompts of {result['prompt']} tokens, responses of {result['response']}, "
        f"G {result['group']}, {result['tokens_per_microbatch']:,} tokens per micro-batch; torch {result['torch']}, "
        f"transformers {result['transformers']}; medians of {result['steps']} alternating steps, seconds.",
        "",
        "| | step | generation | tokens/s | update | memory |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, side in result["sides"].items():
        lines.append(
            f"| {name} | {side['total']:.3f} | {side['generation']:.3f} | {side['tokens_per_second']:,.0f} | "
            f"{side['update']:.3f} | {side['memory'] / 2**30:.1f} GiB |"
        )
    lines += [
        "",
        "Speed-up over plain transformers: "
        + (", ".join(f"{part} {factor:.1f}" for part, factor in result["factors"].items()) or "out of memory")
        + f". Our update runs at {result['update_share_of_limit']:.0%} of the matrix rate of "
        f"{result['matrix_rate'] / 1e12:.1f} TFLOP/s measured between the steps.",
    ]
    kernels = result.get("kernels", {})
    if kernels:
        kinds = list(next(iter(kernels.values()))["shares"])
        lines += [
            "",
            "| | launches | device busy, s | " + " | ".join(kinds) + " |",
            "| --- |" + " ---: |" * (len(kinds) + 2),
        ]
        for part, seen in kernels.items():
            shares = " | ".join(f"{seen['shares'][kind]:.0%}" for kind in kinds)
            lines.append(f"| {part} | {seen['launches']:,} | {seen['busy']:.3f} | {shares} |")
    return "\n".join(lines) + "\n"
