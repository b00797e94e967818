"""`taosr-she bench device`: our step and plain transformers' on the same work, in turn, on the GPU if there is one."""

import json
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from transformers import Qwen3Config, Qwen3ForCausalLM
from transformers import __version__ as transformers_version

from taosr_she.bench.machine import matrix_rate, needed_operations
from taosr_she.bench.our_step import OurStep
from taosr_she.bench.plain_step import PlainStep
from taosr_she.bench.work import PROMPTS, Bench, Cell, Endless
from taosr_she.model.policy import Policy, resolve_device
from taosr_she.train.loop import autocast

SHAPES: dict[str, dict[str, Any]] = {
    "qwen3-0.6b": {
        "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
        "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": True,
    },
    "small": {
        "vocab_size": 8192, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 32, "tie_word_embeddings": True,
    },
}  # fmt: skip
"""Models of random weights by name; `small` is for trying the benchmark on a CPU."""


def measure_device(console: Console, out: Path, shape: str, cell: Cell, steps: int) -> None:
    """Measure, print, and write `device.json` to the folder `out`. Medians over `steps` after one to warm up."""
    out.mkdir(parents=True, exist_ok=True)
    device = resolve_device("auto")
    bench = Bench()
    torch.manual_seed(1)
    config = Qwen3Config(**SHAPES[shape])
    prompts = bench.prompts(bench.policy("tiny"), PROMPTS, cell.prompt)
    tokenizer = bench.policy("tiny").tokenizer

    def policy() -> Policy:
        return Endless(Qwen3ForCausalLM(config).to(device), tokenizer, device)

    ours = OurStep(policy(), bench.domain, prompts, cell)
    plain = PlainStep(
        policy(), prompts, cell, ours.settings.tokens_per_microbatch, lambda: autocast(ours.policy, ours.settings)
    )
    taken: dict[str, list[dict[str, float]]] = {"ours": [], "plain": []}
    memory = dict.fromkeys(taken, 0)
    rates = []
    for _ in range(steps + 1):
        for name, step in (("ours", ours), ("plain", plain)):
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            taken[name].append(step())
            if device.type == "cuda":
                memory[name] = torch.cuda.max_memory_allocated()
        half = device.type == "cuda"
        rates.append(matrix_rate(8192 if half else 1536, 0.5, device, torch.bfloat16 if half else torch.float32))
    sides: dict[str, Any] = {
        name: {part: median(row.get(part, 0.0) for row in rows[1:]) for part in rows[0]}
        | {"total": median(sum(row.values()) for row in rows[1:]), "memory": memory[name]}
        for name, rows in taken.items()
    }
    # Forward and backward pass are three of the four passes' worth that a whole step needs.
    operations = needed_operations(config, PROMPTS, cell.prompt, cell.group, cell.response) * 3 / 4
    result = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu", "shape": shape,
        "precision": "bfloat16 autocast" if device.type == "cuda" else "float32",
        "torch": torch.__version__, "transformers": transformers_version, "prompts": PROMPTS, "steps": steps,
        "prompt": cell.prompt, "response": cell.response, "group": cell.group, **sides,
        "factor": sides["plain"]["total"] / sides["ours"]["total"],
        "update_factor": sides["plain"]["update"] / sides["ours"]["update"],
        "matrix_rate": median(rates), "update_share_of_limit": operations / median(rates) / sides["ours"]["update"],
    }  # fmt: skip
    (out / "device.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for name, side in sides.items():
        parts = ", ".join(f"{part} {side[part]:.2f} s" for part in taken[name][0])
        console.print(f"{name}: {side['total']:.2f} s ({parts}), {side['memory'] / 2**30:.1f} GiB", highlight=False)
    console.print(
        f"factor {result['factor']:.2f}; update at {result['update_share_of_limit']:.0%} of {median(rates) / 1e12:.1f} "
        "TFLOP/s", highlight=False,
    )  # fmt: skip
    print(json.dumps(result))
