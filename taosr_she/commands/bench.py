"""`taosr-she bench`: measure speed."""

import os
from pathlib import Path
from typing import Annotated

import typer

from taosr_she.base.errors import UserError
from taosr_she.base.terminal import terminal
from taosr_she.commands.paths import path_option


def speed(
    out: Annotated[Path, path_option("Folder for speed.json, speed.md and speed.png.")] = Path("speed"),
    quick: Annotated[bool, typer.Option("--quick", help="Two settings instead of all.")] = False,
    steps: Annotated[int, typer.Option(min=1, help="Measured steps of each side.")] = 3,
) -> None:
    """Our training step and TRL's on the same work, in turn, on the CPU."""
    from taosr_she.bench.speed import measure_speed

    measure_speed(terminal(), out, quick, steps)


def device(
    out: Annotated[Path, path_option("Folder for device-SHAPE.json and .md.")] = Path("speed"),
    shape: Annotated[str, typer.Option(help="qwen3-0.6b, smollm2-135m, or small for a CPU.")] = "qwen3-0.6b",
    prompt: Annotated[int, typer.Option(min=1, help="Tokens of a prompt.")] = 768,
    response: Annotated[int, typer.Option(min=1, help="Tokens of a response.")] = 128,
    group: Annotated[int, typer.Option(min=2, help="Rollouts of a prompt.")] = 16,
    steps: Annotated[int, typer.Option(min=1, help="Measured steps of each side.")] = 3,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of a micro-batch of the updates.")] = 16384,
) -> None:
    """Our training step against plain transformers (generate, then an update row by row), on a GPU if there is one."""
    from taosr_she.bench.device import SHAPES, measure_device
    from taosr_she.bench.work import StepSize

    if shape not in SHAPES:
        raise UserError(f"--shape {shape}: expected one of {', '.join(SHAPES)}")
    measure_device(terminal(), out, shape, StepSize(shape, prompt, response, group), steps, tokens)


def precision(
    out: Annotated[Path, path_option("Folder for precision-SHAPE.json and .md.")] = Path("speed"),
    shape: Annotated[str, typer.Option(help="smollm2-135m, qwen3-0.6b, or small.")] = "smollm2-135m",
    prompt: Annotated[int, typer.Option(min=1, help="Tokens of a prompt.")] = 64,
    response: Annotated[int, typer.Option(min=1, help="Tokens of a response.")] = 48,
    group: Annotated[int, typer.Option(min=2, help="Rollouts of a prompt.")] = 8,
    steps: Annotated[int, typer.Option(min=1, help="Measured steps of each side.")] = 3,
    lora: Annotated[int, typer.Option(min=0, help="Measure LoRA of this rank too; 0: not.")] = 0,
) -> None:
    """Our training step in float32 and in bfloat16 on the CPU, with all weights and with LoRA, in turn."""
    from taosr_she.bench.device import SHAPES
    from taosr_she.bench.precision import measure_precision
    from taosr_she.bench.work import StepSize

    if shape not in SHAPES:
        raise UserError(f"--shape {shape}: expected one of {', '.join(SHAPES)}")
    measure_precision(terminal(), out, shape, StepSize(shape, prompt, response, group), steps, lora)


def parts(
    out: Annotated[Path, path_option("Folder for parts.json and parts.md.")] = Path("speed"),
    steps: Annotated[int, typer.Option(min=1, help="Measured steps of each way.")] = 9,
) -> None:
    """Ablation: the time of our training step without each speed-up."""
    from taosr_she.bench.parts import measure_parts

    measure_parts(terminal(), out, steps)


def profile(
    out: Annotated[Path, path_option("Folder for profile.json and profile.md.")] = Path("speed"),
    steps: Annotated[int, typer.Option(min=1, help="Profiled steps.")] = 3,
) -> None:
    """Profile: share of each kind of operation in our training step, on one CPU thread."""
    from taosr_she.bench.profile import measure_profile

    measure_profile(terminal(), out, steps)


def threads(
    out: Annotated[Path, path_option("Folder for threads.json and threads.md.")] = Path("speed"),
    steps: Annotated[int, typer.Option(min=1, help="Measured steps of each setting.")] = 9,
) -> None:
    """Generation time under different thread settings, on a quiet machine and beside a busy process."""
    from taosr_she.bench.threads import measure_threads

    measure_threads(terminal(), out, steps)


def paper(
    out: Annotated[Path, path_option("Folder for the runs; what is done there is kept.")] = Path("runs/paper"),
    docs: Annotated[Path, path_option("Folder of results.md and results/.")] = Path("docs"),
    quick: Annotated[bool, typer.Option("--quick", help="The main rows of the long tail on two seeds.")] = False,
    tune: Annotated[bool, typer.Option("--tune", help="Choose settings on the development seed instead.")] = False,
    render: Annotated[bool, typer.Option("--render", help="Run nothing; write the page of what is there.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="long_tail, standard or esci. Repeatable.")] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes, of one thread each.", show_default="number of cores")
    ] = os.cpu_count() or 1,
) -> None:
    """Every method, ablation and noise level on every setting and seed; resumable, one process a core."""
    from taosr_she.bench.paper.command import paper as measure_paper

    measure_paper(terminal(), out, docs, quick, tune, render, only or [], workers)
