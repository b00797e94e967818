"""`taosr-she data`: check, convert and generate pairs."""

from pathlib import Path
from typing import Annotated

import typer

from taosr_she.base.terminal import terminal
from taosr_she.commands.checks import check_file, check_folder, check_place, not_an_input, quarantine_of
from taosr_she.commands.options import ColumnOption, DefuseOption, DomainOption, EncodingOption, LayoutOption, columns
from taosr_she.commands.paths import path_argument, path_option
from taosr_she.commands.say import say_loaded


def validate(
    path: Annotated[Path, path_argument("File of pairs.")],
    domain: DomainOption = "taobao",
    layout: LayoutOption = "auto",
    column: ColumnOption = None,
    quarantine: Annotated[Path | None, path_option("File for rejected rows (default: beside the input).")] = None,
    require_label: Annotated[bool, typer.Option(help="Reject pairs without a label.")] = False,
    encoding: EncodingOption = None,
) -> None:
    """Check a file of pairs: which rows are usable, which are not, and why. Exit code 1 if no row is usable."""
    from taosr_she.data.validate import load_pairs
    from taosr_she.domain.domain import load_domain

    mapped, target = columns(column), quarantine or quarantine_of(path)
    not_an_input("--quarantine", target, path)
    check_place("--quarantine", target, target.parent)
    loaded = load_pairs(
        path, load_domain(domain), layout=layout, columns=mapped, require_label=require_label, quarantine=target,
        encoding=encoding,
    )  # fmt: skip
    say_loaded(terminal(), path, loaded.tally, target)
    if not loaded.pairs:
        raise typer.Exit(1)


def convert(
    path: Annotated[Path, path_argument("File of pairs.")],
    out: Annotated[Path, path_argument("Output: .jsonl, .csv, .tsv, .parquet; text formats also with .gz.")],
    domain: DomainOption = "taobao",
    layout: LayoutOption = "auto",
    column: ColumnOption = None,
    encoding: EncodingOption = None,
    defuse: DefuseOption = False,
) -> None:
    """Convert pairs to the plain layout in another format."""
    from taosr_she.data.validate import load_pairs
    from taosr_she.data.write import write_pairs
    from taosr_she.domain.domain import load_domain

    mapped, screen = columns(column), terminal()
    check_file("output", out, path)
    target = quarantine_of(out)
    loaded = load_pairs(path, load_domain(domain), layout=layout, columns=mapped, quarantine=target, encoding=encoding)
    write_pairs(out, loaded.pairs, defuse)
    say_loaded(screen, path, loaded.tally, target)
    screen.print(f"wrote {out}")


def market(
    out: Annotated[Path, path_argument("Folder to write.")],
    seed: Annotated[int, typer.Option(help="Each seed gives a different market.")] = 1,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value, e.g. test_pairs=200", show_default=False)
    ] = None,
) -> None:
    """Generate a market: pairs by split, demonstrations, annotations and the truth of every step."""
    from taosr_she.data.market.market import SPLITS, generate_market
    from taosr_she.recipe.config import load_recipe
    from taosr_she.recipe.data_folder import DataFolder

    check_folder("output", out)
    recipe = load_recipe("demo", [f"stages.data.market.{o}" for o in overrides or []])
    config = recipe.stages["data"].market  # type: ignore[attr-defined]
    generated = generate_market(config, seed)
    out.mkdir(parents=True, exist_ok=True)
    truth = [annotation for split in SPLITS for annotation in generated.truth(split)]
    counts = DataFolder(out).write(
        generated.pairs, generated.demonstrations, generated.annotations, generated.held_out, truth
    )
    terminal().print(f"{out}: " + ", ".join(f"{value} {key}" for key, value in counts.items()))
