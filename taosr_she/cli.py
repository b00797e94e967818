"""The command line. Heavy libraries are imported inside the commands, so that `--help` answers at once."""

import errno
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from taosr_she import __version__
from taosr_she.errors import UNWRITABLE, UserError


def console() -> Console:
    """The terminal; files and pipes get lines of 140 characters."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=140)


app = typer.Typer(
    name="taosr-she", help="Step-examined relevance: train and measure models that judge query-product pairs in steps.",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
)  # fmt: skip
data_app = typer.Typer(help="Check, convert and generate pairs.", no_args_is_help=True)
app.add_typer(data_app, name="data")
bench_app = typer.Typer(help="Measure speed.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")
annotations_app = typer.Typer(help="What people said: import, export, agreement.", no_args_is_help=True)
app.add_typer(annotations_app, name="annotations")

Overrides = Annotated[list[str] | None, typer.Argument(help="key.sub=value, e.g. seed=2", show_default=False)]
DomainOption = Annotated[str, typer.Option("--domain", help="taobao, esci, wands, or a YAML file.")]
LayoutOption = Annotated[str, typer.Option("--layout", help="auto, plain, esci, esci-sample, wands, rair.")]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option("--column", help="Our field = the file's column: query=search_term. Repeatable."),
]


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def demo(overrides: Overrides = None) -> None:
    """SFT, vanilla GRPO and SRPO on the embedded market: about six minutes on two cores, no download."""
    _run("demo", overrides or [], dry_run=False, redo=[])


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="Recipe file, or the name of a shipped recipe.")],
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved plan, run nothing.")] = False,
    seeds: Annotated[str | None, typer.Option(help="Repeat over seeds: 1,2,3; prints means and intervals.")] = None,
    redo: Annotated[
        list[str] | None,
        typer.Option(help="Run this stage anew, and those that depend on it. Repeatable.", show_default=False),
    ] = None,
) -> None:
    """Run a recipe to its report. Finished stages are kept; a killed run resumes where it was."""
    if seeds is None:
        _run(recipe, overrides or [], dry_run, redo or [])
    else:
        _run_seeds(recipe, overrides or [], seeds, dry_run, redo or [])


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="Model folder or hub name.")],
    pairs: Annotated[Path, typer.Argument(help="Labelled pairs.")],
    domain: DomainOption = "taobao",
    annotations: Annotated[Path | None, typer.Option(help="Reference annotations (JSONL) for step metrics.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for results.json and predictions.")] = Path("evaluation"),
    layout: LayoutOption = "auto",
    column: ColumnOption = None,
    device: str = "auto",
    max_new_tokens: int = 128,
) -> None:
    """Measure a model on labelled pairs: metrics with intervals, by class and slice."""
    from taosr_she.commands import evaluate_model

    evaluate_model(console(), model, pairs, domain, annotations, out, layout, _columns(column), device, max_new_tokens)


@app.command()
def judge(
    model: Annotated[str, typer.Argument(help="Model folder or hub name.")],
    pairs: Annotated[Path, typer.Argument(help="Pairs; labels are not needed.")],
    out: Annotated[Path, typer.Option(help="Output: .jsonl, .csv, .tsv or .parquet.")] = Path("judged.jsonl"),
    domain: DomainOption = "taobao",
    layout: LayoutOption = "auto",
    column: ColumnOption = None,
    device: str = "auto",
    max_new_tokens: int = 128,
) -> None:
    """Score pairs: label, probabilities and steps of each."""
    from taosr_she.commands import judge_pairs

    judge_pairs(console(), model, pairs, out, domain, layout, _columns(column), device, max_new_tokens)


@app.command()
def examine(
    responses: Annotated[Path, typer.Argument(help="Responses: a pair and a column `response` in each row.")],
    out: Annotated[Path, typer.Option(help="Output: .jsonl, .csv, .tsv or .parquet.")] = Path("examined.jsonl"),
    domain: DomainOption = "taobao",
    annotations: Annotated[
        str | None, typer.Option(help="What people said: JSONL, a SQLite file (.db), or a database URL.")
    ] = None,
    judge: Annotated[Path | None, typer.Option(help="Checkpoint folder of a judge stage.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Judge behind an OpenAI-compatible endpoint: its URL.")] = None,
    endpoint_model: Annotated[str | None, typer.Option(help="Name of the model there.")] = None,
    mode: Annotated[
        str | None, typer.Option(help="human_first, judge_only, human_only, agree. Default: as there are examiners.")
    ] = None,
    layout: LayoutOption = "auto",
    column: ColumnOption = None,
    device: str = "auto",
) -> None:
    """Examine the steps of responses: verdicts, who gave them, and the judge's critiques."""
    from taosr_she.commands import examine_file

    if (endpoint is None) != (endpoint_model is None) or (endpoint and judge):
        raise UserError("give --judge, or --endpoint together with --endpoint-model")
    chosen = mode or ("human_only" if judge is None and endpoint is None else "human_first")
    there = (endpoint, endpoint_model) if endpoint and endpoint_model else None
    examine_file(console(), responses, out, domain, annotations, judge, there, chosen, layout, _columns(column), device)


@app.command()
def select(
    pairs: Annotated[Path, typer.Argument(help="File of pairs.")],
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("selection"),
    model: Annotated[
        str | None, typer.Option(help="Whose rollouts say how hard a pair is: folder or hub name.")
    ] = None,
    annotations: Annotated[str | None, typer.Option(help="References for the steps: JSONL, SQLite file, URL.")] = None,
    domain: DomainOption = "taobao",
    layout: LayoutOption = "auto",
    column: ColumnOption = None,
    device: str = "auto",
) -> None:
    """Choose the pairs worth training on: neither too easy nor too hard, and different from each other."""
    from taosr_she.select.command import select_file

    select_file(console(), pairs, out, model, domain, annotations, overrides or [], layout, _columns(column), device)


@app.command()
def report(run_folder: Annotated[Path, typer.Argument(help="Folder of a run.")]) -> None:
    """Build report.html of a run folder anew."""
    from taosr_she.report.build import build_report

    print(build_report(run_folder))


@app.command()
def figure(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, e.g. of several seeds.")],
    metric: Annotated[
        str, typer.Option(help="A column of metrics.jsonl: entropy, reward, signal_share, ...")
    ] = "reward",
    out: Annotated[Path, typer.Option(help="Picture to write: .png or .svg.")] = Path("figure.png"),
) -> None:
    """Draw one metric of the training stages, mean and range over runs."""
    from taosr_she.report.figure import draw_metric

    draw_metric(runs, metric, out)
    print(out)


@data_app.command("validate")
def data_validate(
    path: Annotated[Path, typer.Argument(help="File of pairs.")],
    domain: DomainOption = "taobao",
    layout: LayoutOption = "auto",
    column: ColumnOption = None,
    quarantine: Annotated[Path | None, typer.Option(help="Rejected rows go here (default: beside the file).")] = None,
    require_label: Annotated[bool, typer.Option(help="A pair without label is rejected.")] = False,
) -> None:
    """Check a file of pairs: what comes through, what does not, and why."""
    from taosr_she.commands import validate_file

    validate_file(console(), path, domain, layout, _columns(column), quarantine, require_label)


@data_app.command("convert")
def data_convert(
    path: Annotated[Path, typer.Argument(help="File of pairs.")],
    out: Annotated[Path, typer.Argument(help="Output: .jsonl, .csv, .tsv, .parquet; text formats also with .gz.")],
    domain: DomainOption = "taobao",
    layout: LayoutOption = "auto",
    column: ColumnOption = None,
) -> None:
    """Convert pairs to the plain layout in another format."""
    from taosr_she.commands import convert_file

    convert_file(console(), path, out, domain, layout, _columns(column))


@data_app.command("market")
def data_market(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    seed: int = 1,
    overrides: Overrides = None,
) -> None:
    """Generate a market: pairs by split, demonstrations, annotations and the truth of every step."""
    from taosr_she.commands import write_market

    write_market(console(), out, seed, overrides or [])


StoreArgument = Annotated[str, typer.Argument(help="SQLite file (.db) or database URL.")]
AnnotationLayout = Annotated[str, typer.Option("--layout", help="jsonl, label_studio, stepwise (TRL).")]


@annotations_app.command("import")
def annotations_import(
    path: Annotated[Path, typer.Argument(help="File of annotations.")],
    store: StoreArgument,
    layout: AnnotationLayout = "jsonl",
    domain: DomainOption = "taobao",
) -> None:
    """Add the records of a file to a store."""
    from taosr_she.annotation_commands import import_file

    import_file(console(), path, store, _annotation_layout(layout), domain)


@annotations_app.command("export")
def annotations_export(
    store: StoreArgument,
    path: Annotated[Path, typer.Argument(help="File to write.")],
    layout: AnnotationLayout = "jsonl",
    pairs: Annotated[Path | None, typer.Option(help="The pairs, which label_studio and stepwise show.")] = None,
    domain: DomainOption = "taobao",
) -> None:
    """Write all records of a store to a file."""
    from taosr_she.annotation_commands import export_file

    export_file(console(), store, path, _annotation_layout(layout), domain, pairs)


@annotations_app.command("agreement")
def annotations_agreement(store: StoreArgument, domain: DomainOption = "taobao") -> None:
    """How well annotators agree, and who stands out. Also for a JSONL file of annotations."""
    from taosr_she.annotation_commands import show_agreement

    show_agreement(console(), store, domain)


def _annotation_layout(layout: str) -> Any:
    if layout not in ("jsonl", "label_studio", "stepwise"):
        raise UserError(f"--layout {layout}: expected jsonl, label_studio or stepwise")
    return layout


@bench_app.command("speed")
def bench_speed(
    out: Annotated[Path, typer.Option(help="Folder for speed.json, speed.md and speed.png.")] = Path("speed"),
    quick: Annotated[bool, typer.Option("--quick", help="Two settings instead of all.")] = False,
    steps: Annotated[int, typer.Option(min=1, help="Measured steps of each side.")] = 3,
) -> None:
    """Our training step against TRL's on the same work, one after the other in turn, on the CPU."""
    from taosr_she.bench.speed import measure_speed

    measure_speed(console(), out, quick, steps)


@bench_app.command("device")
def bench_device(
    out: Annotated[Path, typer.Option(help="Folder for device.json.")] = Path("speed"),
    shape: Annotated[str, typer.Option(help="qwen3-0.6b, or small for a CPU; random weights.")] = "qwen3-0.6b",
    prompt: Annotated[int, typer.Option(min=1, help="Tokens of a prompt.")] = 768,
    response: Annotated[int, typer.Option(min=1, help="Tokens of a response.")] = 128,
    group: Annotated[int, typer.Option(min=2, help="Rollouts of a prompt.")] = 16,
    steps: Annotated[int, typer.Option(min=1, help="Measured steps of each side.")] = 3,
) -> None:
    """Our training step against plain transformers (generate, then an update row by row), on a GPU if there is one."""
    from taosr_she.bench.device import SHAPES, measure_device
    from taosr_she.bench.work import Cell

    if shape not in SHAPES:
        raise UserError(f"--shape {shape}: expected one of {', '.join(SHAPES)}")
    measure_device(console(), out, shape, Cell(shape, prompt, response, group), steps)


@bench_app.command("parts")
def bench_parts(
    out: Annotated[Path, typer.Option(help="Folder for parts.json and parts.md.")] = Path("speed"),
    steps: Annotated[int, typer.Option(min=1, help="Measured steps of each way.")] = 9,
) -> None:
    """What each of the means that make our training step fast brings, by leaving it out."""
    from taosr_she.bench.parts import measure_parts

    measure_parts(console(), out, steps)


@bench_app.command("profile")
def bench_profile(
    out: Annotated[Path, typer.Option(help="Folder for profile.json and profile.md.")] = Path("speed"),
    steps: Annotated[int, typer.Option(min=1, help="Profiled steps.")] = 3,
) -> None:
    """In which kinds of operation our training step spends its time, on one CPU thread."""
    from taosr_she.bench.profile import measure_profile

    measure_profile(console(), out, steps)


@bench_app.command("threads")
def bench_threads(
    out: Annotated[Path, typer.Option(help="Folder for threads.json and threads.md.")] = Path("speed"),
    steps: Annotated[int, typer.Option(min=1, help="Measured steps of each setting.")] = 9,
) -> None:
    """Which thread settings suit this machine, quiet and beside another busy process."""
    from taosr_she.bench.threads import measure_threads

    measure_threads(console(), out, steps)


@bench_app.command("paper")
def bench_paper(
    out: Annotated[Path, typer.Option(help="Folder for the runs; what is done there is kept.")] = Path("runs/paper"),
    docs: Annotated[Path, typer.Option(help="Folder of results.md and results/.")] = Path("docs"),
    quick: Annotated[bool, typer.Option("--quick", help="The main rows of the long tail on two seeds.")] = False,
    tune: Annotated[bool, typer.Option("--tune", help="Choose settings on the development seed instead.")] = False,
    render: Annotated[bool, typer.Option("--render", help="Run nothing; write the page of what is there.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="long_tail, standard or esci. Repeatable.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, of one thread each.")] = os.cpu_count() or 1,
) -> None:
    """Every method, ablation and noise level on every setting and seed; resumable, one process a core."""
    from taosr_she.bench.paper.command import paper

    paper(console(), out, docs, quick, tune, render, only or [], workers)


def _columns(options: list[str] | None) -> dict[str, str] | None:
    if not options:
        return None
    for option in options:
        if "=" not in option:
            raise UserError(f"--column {option}: expected field=column, e.g. query=search_term")
    return dict(option.split("=", 1) for option in options)


def _run(name: str, overrides: list[str], dry_run: bool, redo: list[str]) -> None:
    from taosr_she.recipe.config import load_recipe
    from taosr_she.recipe.progress import Progress
    from taosr_she.recipe.run import describe_plan, read_results, run_recipe
    from taosr_she.recipe.table import results_table

    recipe = load_recipe(name, overrides)
    if dry_run:
        print(describe_plan(recipe, redo))
        return
    screen = console()
    with Progress(screen) as progress:
        path = run_recipe(recipe, progress, redo)
    results = read_results(recipe.folder)
    if results is not None:
        screen.print(results_table(results))
    screen.print(f"report: {path}", highlight=False, soft_wrap=True)


def _run_seeds(name: str, overrides: list[str], seeds: str, dry_run: bool, redo: list[str]) -> None:
    from taosr_she.recipe.seeds import run_seeds

    run_seeds(console(), name, overrides, seeds, dry_run, redo)


PLACE_IS_WRONG = {
    errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO,
    errno.EPIPE, *UNWRITABLE,
}  # fmt: skip
"""What the system says where a path that the user chose cannot be written. A file that is not there is not among them:
readers name theirs themselves, and one that is missing from the package is our mistake."""


def main() -> None:
    """Entry point: a user's mistake is one line on standard error and exit code 2."""
    try:
        app()
    except UserError as error:
        print(f"taosr-she: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        if error.errno not in PLACE_IS_WRONG:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"taosr-she: {where}{error.strerror}; name another place or make room there", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("taosr-she: stopped; run the same command again to go on", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
