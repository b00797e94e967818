"""`taosr-she bench`: measure speed."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from taosr_she.base.errors import UserError
from taosr_she.base.terminal import terminal
from taosr_she.commands.paths import path_argument, path_option


def speed(
    out: Annotated[Path, path_option("Folder for speed.json, speed.md and speed.png.")] = Path("speed"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Only the first two settings; with --sft the first, with --large the last.")
    ] = False,
    steps: Annotated[int, typer.Option(min=1, help="Measured steps of each side.")] = 3,
    sft: Annotated[
        bool, typer.Option("--sft", help="Fine-tuning instead of reinforcement learning: sft_speed.json and .md.")
    ] = False,
    large: Annotated[
        bool,
        typer.Option(
            "--large", help="Only the shape of SmolLM2-135M, in float32 and bfloat16: speed-large.json and .md."
        ),
    ] = False,
) -> None:
    """Compare our training step with TRL's on the same work, on the CPU."""
    from taosr_she.bench.sft_speed import measure_sft
    from taosr_she.bench.speed import measure_large, measure_speed

    if sft and large:
        raise UserError("--sft and --large are two benchmarks: run one at a time")
    (measure_sft if sft else measure_large if large else measure_speed)(terminal(), out, quick, steps)


def device(
    out: Annotated[Path, path_option("Folder for device-SHAPE.json and .md.")] = Path("speed"),
    shape: Annotated[str, typer.Option(help="qwen3-0.6b, smollm2-135m, or small for a CPU.")] = "qwen3-0.6b",
    prompt: Annotated[int, typer.Option(min=1, help="Tokens per prompt.")] = 768,
    response: Annotated[int, typer.Option(min=1, help="Tokens per response.")] = 128,
    group: Annotated[int, typer.Option(min=2, help="Rollouts per prompt.")] = 16,
    steps: Annotated[int, typer.Option(min=1, help="Measured steps of each side.")] = 3,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens per micro-batch of an update.")] = 16384,
) -> None:
    """Compare our training step with plain transformers (generate, then an update row by row), on a GPU if possible."""
    from taosr_she.bench.device import measure_device
    from taosr_she.bench.shapes import SHAPES
    from taosr_she.bench.work import StepSize

    if shape not in SHAPES:
        raise UserError(f"--shape {shape}: expected one of {', '.join(SHAPES)}")
    measure_device(terminal(), out, shape, StepSize(shape, prompt, response, group), steps, tokens)


def precision(
    out: Annotated[Path, path_option("Folder for precision-SHAPE.json and .md.")] = Path("speed"),
    shape: Annotated[str, typer.Option(help="smollm2-135m, qwen3-0.6b, or small.")] = "smollm2-135m",
    prompt: Annotated[int, typer.Option(min=1, help="Tokens per prompt.")] = 64,
    response: Annotated[int, typer.Option(min=1, help="Tokens per response.")] = 48,
    group: Annotated[int, typer.Option(min=2, help="Rollouts per prompt.")] = 8,
    steps: Annotated[int, typer.Option(min=1, help="Measured steps of each side.")] = 3,
    lora: Annotated[int, typer.Option(min=0, help="Also measure LoRA of this rank; 0: do not.")] = 0,
) -> None:
    """Compare our training step in float32 and in bfloat16 on the CPU, with all weights and with LoRA."""
    from taosr_she.bench.precision import measure_precision
    from taosr_she.bench.shapes import SHAPES
    from taosr_she.bench.work import StepSize

    if shape not in SHAPES:
        raise UserError(f"--shape {shape}: expected one of {', '.join(SHAPES)}")
    measure_precision(terminal(), out, shape, StepSize(shape, prompt, response, group), steps, lora)


def parts(
    out: Annotated[Path, path_option("Folder for parts.json and parts.md.")] = Path("speed"),
    steps: Annotated[int, typer.Option(min=1, help="Measured steps of each variant.")] = 9,
) -> None:
    """Ablation: time of our training step without each speed-up."""
    from taosr_she.bench.parts import measure_parts

    measure_parts(terminal(), out, steps)


def bulk(
    model: Annotated[str, typer.Argument(help="Model: a folder, or a name from docs/models.md.")],
    pairs: Annotated[Path, path_argument("Pairs to judge.")],
    out: Annotated[Path, path_option("Output of the job.")] = Path("bulk.jsonl"),
    kills: Annotated[int, typer.Option(min=1, help="Number of times that the job is killed.")] = 5,
    mode: Annotated[str, typer.Option(help="reason or label, as for judge.")] = "reason",
) -> None:
    """Judge pairs with a job that is killed again and again (kill -9): lives, memory, rate, and every pair once."""
    from taosr_she.bench.bulk import killed_job
    from taosr_she.model.domain_file import choose_domain

    screen = terminal()
    options = [model, str(pairs), "--mode", mode]
    found = killed_job(
        options, pairs, out, choose_domain(None, model), kills, lambda text: screen.print(text, soft_wrap=True)
    )  # fmt: skip
    peaks = [life.peak_mb for life in found.lives]
    screen.print(
        f"{found.pairs} pairs in {len(found.lives)} lives, {found.seconds:.0f} s, {found.pairs / found.seconds:.0f} "
        f"pairs/s; every pair once, in order: {'yes' if found.once else 'NO'}; peak memory {min(peaks):.0f} to "
        f"{max(peaks):.0f} MB",
        soft_wrap=True,
    )
    if not found.once:
        raise typer.Exit(1)


def vllm(
    model: Annotated[str, typer.Argument(help="Model: a folder.")],
    pairs: Annotated[Path, path_argument("Pairs to judge.")],
    out: Annotated[Path, path_option("Folder for vllm.json and vllm.md.")] = Path("speed"),
    count: Annotated[int, typer.Option(min=1, help="Number of pairs, the first of the file.")] = 200,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16, on both sides.")] = "float32",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Maximum length of a response, in tokens.")] = 128,
) -> None:
    """Open a checkpoint with vLLM, and compare its greedy responses and labels with ours; vLLM must be installed."""
    from taosr_she.bench.vllm_opens import measure_vllm

    if not measure_vllm(terminal(), out, model, pairs, count, dtype, max_new_tokens):
        raise typer.Exit(1)


def profile(
    out: Annotated[Path, path_option("Folder for profile.json and profile.md.")] = Path("speed"),
    steps: Annotated[int, typer.Option(min=1, help="Profiled steps.")] = 3,
) -> None:
    """Profile: time of each kind of operation in our training step, on one CPU thread."""
    from taosr_she.bench.profile import measure_profile

    measure_profile(terminal(), out, steps)


def threads(
    out: Annotated[Path, path_option("Folder for threads.json and threads.md.")] = Path("speed"),
    steps: Annotated[int, typer.Option(min=1, help="Measured steps of each setting.")] = 9,
) -> None:
    """Generation time under different thread settings, on a quiet machine and beside a busy process."""
    from taosr_she.bench.threads import measure_threads

    measure_threads(terminal(), out, steps)


def processes(
    out: Annotated[Path, path_option("Folder for processes.json and processes.md.")] = Path("speed"),
    count: Annotated[
        int, typer.Option(min=2, help="Number of processes, and threads of one.", show_default="number of cores")
    ] = max(2, os.cpu_count() or 2),
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each side, in turn.")] = 2,
    steps: Annotated[int, typer.Option(min=1, help="Measured steps of each round.")] = 5,
) -> None:
    """Compare a training step in one process with several threads and in several processes, on the CPU."""
    from taosr_she.bench.processes import measure_processes

    measure_processes(terminal(), out, count, rounds, steps)


def trl(
    out: Annotated[Path, path_option("Folder for trl.json and trl.md.")] = Path("speed"),
    work: Annotated[Path, path_option("Folder for the trainings; they are written anew.")] = Path("runs/trl"),
    count: Annotated[int, typer.Option(min=1, help="Number of processes.")] = 2,
) -> None:
    """Compare three updates of `engine: trl` with our own loop, on the same rollouts: DDP, FSDP2, LoRA; on the CPU."""
    from taosr_she.bench.trl_equal import measure_trl

    measure_trl(terminal(), out, work, count)


def scale(out: Annotated[Path, path_option("Folder for scale.json and scale.md.")] = Path("speed")) -> None:
    """Compute what judging and training cost from one core to 1,000 GPUs, from measured rates; runs no model."""
    from taosr_she.bench.scale import measure_scale

    measure_scale(terminal(), out)


def paper(
    out: Annotated[Path, path_option("Folder for the runs. Finished cells in it are kept.")] = Path("runs/paper"),
    docs: Annotated[Path, path_option("Folder of results.md and results/.")] = Path("docs"),
    quick: Annotated[bool, typer.Option("--quick", help="Only the main rows of the long tail, on two seeds.")] = False,
    tune: Annotated[bool, typer.Option("--tune", help="Choose settings on the development seed instead.")] = False,
    render: Annotated[bool, typer.Option("--render", help="Only write the page, from finished cells.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="long_tail, standard or esci. Repeatable.")] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Number of processes, each with one thread.", show_default="number of cores")
    ] = os.cpu_count() or 1,
) -> None:
    """Compare all methods, ablations and noise levels on every setting and seed; resumable, one process per core."""
    from taosr_she.bench.paper.command import paper as measure_paper

    measure_paper(terminal(), out, docs, quick, tune, render, only or [], workers)


def real(
    out: Annotated[Path, path_option("Folder for the runs. Finished rows in it are kept.")] = Path("runs/real"),
    docs: Annotated[Path, path_option("Folder with results.md and results/, beside README.md.")] = Path("docs"),
    only: Annotated[list[str] | None, typer.Option(help="chorus or esci. Repeatable.")] = None,
    fold: Annotated[list[int] | None, typer.Option(help="Folds to run, from 0 to 4. Repeatable.")] = None,
    row: Annotated[list[str] | None, typer.Option(help="Rows to run, such as tfidf or srpo. Repeatable.")] = None,
    render: Annotated[bool, typer.Option("--render", help="Only write the page, from finished rows.")] = False,
    threads: Annotated[
        int, typer.Option(min=1, help="Number of threads of each process.", show_default="number of cores")
    ] = os.cpu_count() or 1,
    workers: Annotated[
        int, typer.Option(min=1, help="Number of processes: one for two CPU cores, about one per core beside a GPU.")
    ] = 1,
    training: Annotated[
        str, typer.Option(help="The kind of processor that trains: cpu or gpu. Each has rows of its own.")
    ] = "cpu",
) -> None:
    """Compare SFT, DPO, GRPO and SRPO of a pretrained model with classic alternatives, on real pairs."""
    from taosr_she.bench.real.command import real as measure_real

    measure_real(terminal(), out, docs, only or [], fold or [], row or [], render, threads, workers, training)


def gsrm(
    out: Annotated[Path, path_option("Folder for the runs. Finished cells in it are kept.")] = Path("runs/gsrm"),
    docs: Annotated[Path, path_option("Folder with examination.md and results/.")] = Path("docs"),
    seed: Annotated[
        list[int] | None, typer.Option(help="Report seeds. Repeatable. Default: those of the docs.")
    ] = None,
    row: Annotated[
        list[str] | None, typer.Option(help="Rows beside SFT: first_error, fapo, srpo. Repeatable. Default: all.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Number of processes, each with one thread.", show_default="number of cores")
    ] = os.cpu_count() or 1,
) -> None:
    """Compare SFT's GSRM with GSRMs trained further by reinforcement learning, on the market and held-out people."""
    from taosr_she.bench.gsrm.command import gsrm as measure_gsrm
    from taosr_she.bench.gsrm.rows import SEEDS

    measure_gsrm(terminal(), out, docs, seed or SEEDS, workers, row or [])


def serve(
    out: Annotated[Path, path_option("Folder for serve.json and serve.md.")] = Path("speed"),
    model: Annotated[
        list[str] | None, typer.Option(help="Models, as for `serve`. Repeatable. Default: demo, smollm2-135m.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each service.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds of a turn; what was begun is waited for.")] = 10.0,
    clients: Annotated[int, typer.Option(min=1, help="Clients at the same time.")] = 4,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each service.")] = 1,
    max_new_tokens: Annotated[
        int, typer.Option(min=1, help="Maximum length; 69 is the mean of the demo's responses in SmolLM2's tokens.")
    ] = 69,
    soak: Annotated[
        float, typer.Option(min=0, help="Instead: minutes of mixed load, with reloads and kills, on the first model.")
    ] = 0.0,
) -> None:
    """Compare our service with a plain one over transformers, and overload it; or let it soak. Loopback only."""
    missing = [
        package for package in ("fastapi", "uvicorn", "prometheus_client", "httpx") if find_spec(package) is None
    ]
    if missing:
        raise UserError(f"the benchmark needs {', '.join(missing)}: pip install 'taosr-she[serve,teacher]'")

    from taosr_she.bench.serve.measure import measure_serve
    from taosr_she.bench.serve.soak import soak as let_soak

    models = model or ["demo", "smollm2-135m"]
    if soak:
        let_soak(terminal(), out, models[0], soak)
    else:
        measure_serve(terminal(), out, models, rounds, seconds, clients, threads, max_new_tokens)


def annotate(
    out: Annotated[Path, path_option("Folder for annotate.json and annotate.md.")] = Path("speed"),
    items: Annotated[int, typer.Option(min=100, help="Items in the store.")] = 100_000,
    judged: Annotated[int, typer.Option(min=1, help="Items that each of five annotators judges by keyboard.")] = 40,
    verdicts: Annotated[int, typer.Option(min=1, help="Verdicts that each of five writers sends.")] = 2_000,
    batch: Annotated[int, typer.Option(min=1, max=200, help="Verdicts in one request.")] = 5,
) -> None:
    """Speed of the annotation page: from a key to the next item painted, and verdicts per second."""
    from taosr_she.bench.annotate.command import measure_annotate

    measure_annotate(terminal(), out, items, judged, verdicts, batch)


def online(
    out: Annotated[Path, path_option("Folder for the runs. Finished cells in it are kept.")] = Path("runs/online"),
    docs: Annotated[Path, path_option("Folder with online.md and results/.")] = Path("docs"),
    seed: Annotated[list[int] | None, typer.Option(help="Report seeds to run. Repeatable. Default: all.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Cells to run, such as random-120. Repeatable.")] = None,
    development: Annotated[
        bool, typer.Option("--development", help="Run the development seed and only print its tables.")
    ] = False,
    render: Annotated[bool, typer.Option("--render", help="Only write the page, from finished cells.")] = False,
    workers: Annotated[
        int, typer.Option(min=1, help="Number of processes, each with one thread.", show_default="number of cores")
    ] = os.cpu_count() or 1,
) -> None:
    """Compare which questions are worth asking people during a training, on the market with simulated people."""
    from taosr_she.bench.online.command import online as measure_online

    measure_online(terminal(), out, docs, seed or [], only or [], development, render, workers)
