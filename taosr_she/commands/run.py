"""`taosr-she demo` and `taosr-she run`: run a recipe and write its report."""

from typing import Annotated

import typer

from taosr_she.base.escape import plain
from taosr_she.base.terminal import terminal
from taosr_she.commands.options import Overrides


def demo(overrides: Overrides = None) -> None:
    """Train SFT, vanilla GRPO and SRPO on the embedded market and compare them. Nothing is downloaded."""
    _run("demo", overrides or [], dry_run=False, redo=[])


def run(
    recipe: Annotated[str, typer.Argument(help="Recipe file, or the name of a shipped recipe.")],
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved plan but run nothing.")] = False,
    seeds: Annotated[str | None, typer.Option(help="Repeat for seeds 1,2,3; print means and intervals.")] = None,
    redo: Annotated[
        list[str] | None,
        typer.Option(help="Run this stage again, and all that depend on it. Repeatable.", show_default=False),
    ] = None,
) -> None:
    """Run a recipe and write its report. Finished stages are kept; a killed run resumes where it stopped."""
    if seeds is None:
        _run(recipe, overrides or [], dry_run, redo or [])
        return
    from taosr_she.recipe.seeds import run_seeds

    run_seeds(terminal(), recipe, overrides or [], seeds, dry_run, redo or [])


def _run(name: str, overrides: list[str], dry_run: bool, redo: list[str]) -> None:
    from taosr_she.recipe.config import load_recipe
    from taosr_she.recipe.progress import Progress
    from taosr_she.recipe.run import describe_plan, read_results, run_recipe
    from taosr_she.recipe.table import results_table

    recipe = load_recipe(name, overrides)
    if dry_run:
        print(plain(describe_plan(recipe, redo)))
        return
    screen = terminal()
    with Progress(screen) as progress:
        path = run_recipe(recipe, progress, redo)
    results = read_results(recipe.folder)
    if results is not None:
        screen.print(results_table(results))
    screen.print(f"report: {path}", soft_wrap=True)
