"""`taosr-she bench profile`: how much time our step spends in each kind of operation, on one thread."""

from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch.profiler import ProfilerActivity, profile

from taosr_she.bench.our_step import OurStep
from taosr_she.bench.results import write_result
from taosr_she.bench.speed import QUICK
from taosr_she.bench.work import PROMPTS, Bench, StepSize

REST = "the rest (shapes, views, Python's calls)"
KINDS: dict[str, tuple[str, ...]] = {
    "matrix products": ("mm", "addmm", "dot"),
    "attention, forwards and backwards": (
        "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention_for_cpu_backward",
        "bmm", "baddbmm", "_softmax", "logaddexp",  # decoding (engine/decode.py), two parts (engine/two_part.py)
    ),
    "element-wise work and sums (norms, rotary embedding, activation, optimiser)": (
        "mul", "mul_", "add", "add_", "sub", "sub_", "div", "div_", "pow", "sum", "mean", "neg", "exp", "exp_", "sqrt",
        "rsqrt", "rsqrt_", "linalg_vector_norm", "silu", "silu_backward", "cos", "sin", "lerp_", "addcmul", "addcmul_",
        "addcdiv_", "cumsum", "amax",
    ),
    "copying, filling, joining, picking (caches, gradients)": (
        "copy_", "_to_copy", "clone", "cat", "fill_", "zero_", "index_select", "_index_put_impl_", "index",
        "index_add_", "index_copy_", "gather", "scatter_add_",
    ),
}  # fmt: skip
"""Operations of torch (`aten::`) by kind. All others count as the rest."""
KIND_OF = {f"aten::{name}": kind for kind, names in KINDS.items() for name in names}


def measure_profile(console: Console, out: Path, steps: int) -> None:
    """Print the table and write `profile.json` and `profile.md` to the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # with more, the time threads spend waiting for each other is attributed to operations
    bench = Bench()
    shares = {}
    for cell in QUICK:
        console.print(f"{cell.name}: {steps} steps", highlight=False)
        shares[cell.name] = profile_cell(bench, cell, steps)
    result: dict[str, Any] = {"torch": torch.__version__, "steps": steps, "shares": shares}
    write_result(console, out, "profile", result, table(result))


def profile_cell(bench: Bench, cell: StepSize, steps: int) -> dict[str, float]:
    """Share of the time of `steps` steps by kind of operation; time in nested operations counts for those alone."""
    policy = bench.policy(cell.size)
    step = OurStep(policy, bench.domain, bench.prompts(policy, PROMPTS, cell.prompt), cell)
    step()
    with profile(activities=[ProfilerActivity.CPU]) as watched:
        for _ in range(steps):
            step()
    seconds = dict.fromkeys((*KINDS, REST), 0.0)
    for event in watched.key_averages():
        seconds[KIND_OF.get(event.key, REST)] += event.self_cpu_time_total / 1e6
    whole = sum(seconds.values())
    return {kind: spent / whole for kind, spent in seconds.items()}


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    shares = result["shares"]
    lines = [
        f"Tiny model, {PROMPTS} prompts, prompt / response / group size; one thread, {result['steps']} steps, "
        f"torch {result['torch']}. Share of the time under torch's profiler, which itself slows small operations.",
        "",
        "| | " + " | ".join(shares) + " |",
        "| --- |" + " ---: |" * len(shares),
    ]
    for kind in (*KINDS, REST):
        lines.append(f"| {kind} | " + " | ".join(f"{share[kind]:.0%}" for share in shares.values()) + " |")
    return "\n".join(lines) + "\n"
