"""`taosr-she bench speed --sft`: alternating fine-tuning steps of our own pass and of TRL's SFTTrainer, in one run."""

import copy
import json
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from rich.console import Console

from taosr_she.bench.machine import matrix_rate
from taosr_she.bench.results import write_result
from taosr_she.bench.work import Bench
from taosr_she.model.example import Example, answer
from taosr_she.train.sft.by_trl import train_by_trl
from taosr_she.train.sft.loop import make_optimizer, one_step
from taosr_she.train.sft.order import batch_order
from taosr_she.train.sft.settings import SFTSettings

WARM = 2
"""Warm-up steps of each side, which are not counted."""


@dataclass(frozen=True)
class SFTSize:
    """One setting: the model, tokens of a prompt and of a response on average, examples of a step, precision, and with
    how many tokens (instructions, rules) all prompts begin alike."""

    size: str
    prompt: int
    response: int
    batch: int
    precision: Literal["float32", "bfloat16"]
    shared: int = 0


QUICK = [SFTSize("tiny", 22, 36, 16, "float32")]
"""The fine-tuning of the demo."""
FULL = [
    *QUICK,
    SFTSize("tiny", 22, 36, 32, "float32"),
    SFTSize("tiny", 22, 36, 16, "bfloat16"),
    SFTSize("tiny", 300, 36, 16, "float32", shared=270),
    SFTSize("smollm2-135m", 58, 48, 16, "float32"),
    SFTSize("smollm2-135m", 58, 48, 16, "bfloat16"),
]


def measure_sft(console: Console, out: Path, quick: bool, steps: int) -> None:
    """Measure, print and write `sft_speed.json` and `sft_speed.md` to the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    bench = Bench()
    rows = []
    for cell in QUICK if quick else FULL:
        rows.append(measure_cell(bench, cell, steps))
        row = rows[-1]
        console.print(
            f"{cell.size}, {cell.precision}, {cell.batch} x {cell.prompt} + {cell.response}: ours {row['ours']:.3f} s, "
            f"TRL {row['trl']:.3f} s, speed-up {row['factor']:.2f}",
            highlight=False,
        )
    result: dict[str, Any] = {
        "trl": version("trl"), "torch": torch.__version__, "threads": torch.get_num_threads(), "steps": steps,
        "cells": rows,
    }  # fmt: skip
    write_result(console, out, "sft_speed", result, table(result))
    print(json.dumps(result))


def measure_cell(bench: Bench, cell: SFTSize, steps: int) -> dict[str, Any]:
    """Medians over `steps` alternating steps of the two sides; both train on the same batches.

    A step is everything that the loop does between two rows of its metrics: batch, passes, clipping, optimizer.
    """
    policy = bench.policy(cell.size)
    examples = make_examples(cell, len(policy.tokenizer), cell.batch * (WARM + steps))
    settings = SFTSettings(engine="trl", epochs=1, batch_size=cell.batch, learning_rate=1e-6, precision=cell.precision)
    order = batch_order([len(e.ids) for e in examples], settings, 1)
    ours = copy.deepcopy(policy.model).eval()
    optimizer = make_optimizer(ours, settings)
    dtype = torch.bfloat16 if cell.precision == "bfloat16" else torch.float32
    taken: dict[str, list[float]] = {"ours": [], "trl": []}
    rates: list[float] = []
    needed: list[float] = []
    ended = time.perf_counter()

    def turn(row: dict[str, float]) -> None:
        nonlocal ended
        started = time.perf_counter()
        taken["trl"].append(started - ended)
        begin = (int(row["step"]) - 1) * cell.batch
        chosen = [examples[i] for i in order[begin : begin + cell.batch]]
        one_step(ours, chosen, settings, optimizer)
        taken["ours"].append(time.perf_counter() - started)
        needed.append(needed_operations(policy.model.config, chosen, cell.shared))
        rates.append(matrix_rate(seconds=0.3, dtype=dtype))  # beside the steps, so that all meet the same machine
        ended = time.perf_counter()

    with TemporaryDirectory() as folder:
        train_by_trl(policy, examples, settings, 1, Path(folder), turn)
    seconds = {side: median(each[WARM:]) for side, each in taken.items()}
    rate, operations = median(rates[WARM:]), median(needed[WARM:])
    tokens = sum(len(e.ids) for e in examples) / (WARM + steps)
    return {
        **asdict(cell), **seconds, "factor": seconds["trl"] / seconds["ours"],
        "tokens_per_second": {side: tokens / each for side, each in seconds.items()},
        "matrix_rate": rate, "operations": operations,
        "share_of_limit": {side: operations / rate / each for side, each in seconds.items()},
    }  # fmt: skip


def make_examples(cell: SFTSize, vocabulary: int, count: int) -> list[Example]:
    """Random tokens; what follows the shared beginning, and responses, vary by a fifth in length."""
    rng = random.Random(1)

    def tokens(average: int) -> list[int]:
        spread = average // 5
        return [rng.randrange(vocabulary) for _ in range(average + rng.randint(-spread, spread))]

    beginning = [rng.randrange(vocabulary) for _ in range(cell.shared)]
    return [answer(beginning + tokens(cell.prompt - cell.shared), tokens(cell.response)) for _ in range(count)]


def needed_operations(config: Any, examples: Sequence[Example], shared: int = 0) -> float:
    """Floating-point operations of a step when nothing is computed twice, in multiplications and additions.

    Every token but an example's last runs through the layers, the `shared` first ones of all examples once; labelled
    ones have logits, the backward pass is twice the forward pass. `config` is that of a model built like Llama.
    Element-wise work is left out.
    """
    heads, kv, hidden = config.num_attention_heads, config.num_key_value_heads, config.hidden_size
    depth = getattr(config, "head_dim", None) or hidden // heads
    layer = hidden * depth * (2 * heads + 2 * kv) + 3 * hidden * config.intermediate_size
    lengths = [len(e.ids) - 1 for e in examples]
    twice = (len(examples) - 1) * shared
    looks = sum(n * n / 2 for n in lengths) - twice * shared / 2  # pairs of tokens
    body = config.num_hidden_layers * (2 * (sum(lengths) - twice) * layer + 4 * looks * heads * depth)
    learnt = sum(label >= 0 for e in examples for label in e.labels[1:])
    return 3.0 * (body + 2 * learnt * hidden * config.vocab_size)


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        f"One step of fine-tuning, optimizer included, on the CPU, {result['threads']} threads: medians of "
        f"{result['steps']} alternating steps of each side, on the same examples. TRL {result['trl']}, torch "
        f"{result['torch']}. The limit is the time that the needed operations would take at the rate of a large matrix "
        "product in the same precision, measured between the steps.",
        "",
        "| model | precision | examples | prompt | of it shared | response | ours, s | TRL, s | factor "
        "| tokens/s, ours | TRL | matrix rate, GFLOP/s | share of limit, ours | TRL |",
        "| --- | --- |" + " ---: |" * 12,
    ]
    for row in result["cells"]:
        speed, share = row["tokens_per_second"], row["share_of_limit"]
        cells = [
            *(row[key] for key in ("size", "precision", "batch", "prompt", "shared", "response")),
            f"{row['ours']:.3f}", f"{row['trl']:.3f}",
            f"{row['factor']:.2f}", f"{speed['ours']:,.0f}", f"{speed['trl']:,.0f}",
            f"{row['matrix_rate'] / 1e9:,.0f}", f"{share['ours']:.0%}", f"{share['trl']:.0%}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"
