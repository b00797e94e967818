"""`taosr-she data`: check, convert and generate pairs."""

from pathlib import Path
from typing import Annotated

import typer

from taosr_she.commands.options import ColumnOption, DomainOption, LayoutOption, Overrides, columns
from taosr_she.commands.say import console, say_loaded


def validate(
    path: Annotated[Path, typer.Argument(help="File of pairs.")],
    domain: DomainOption = "taobao",
    layout: LayoutOption = "auto",
    column: ColumnOption = None,
    quarantine: Annotated[Path | None, typer.Option(help="Rejected rows go here (default: beside the file).")] = None,
    require_label: Annotated[bool, typer.Option(help="A pair without label is rejected.")] = False,
) -> None:
    """Check a file of pairs: what comes through, what does not, and why."""
    from taosr_she.data.validate import load_pairs
    from taosr_she.domain.domain import load_domain

    mapped, target = columns(column), quarantine or path.with_name(f"{path.name}.quarantine.jsonl")
    loaded = load_pairs(
        path, load_domain(domain), layout=layout, columns=mapped, require_label=require_label, quarantine=target
    )
    say_loaded(console(), path, loaded, target)


def convert(
    path: Annotated[Path, typer.Argument(help="File of pairs.")],
    out: Annotated[Path, typer.Argument(help="Output: .jsonl, .csv, .tsv, .parquet; text formats also with .gz.")],
    domain: DomainOption = "taobao",
    layout: LayoutOption = "auto",
    column: ColumnOption = None,
) -> None:
    """Convert pairs to the plain layout in another format."""
    from taosr_she.data.validate import load_pairs
    from taosr_she.data.write import write_pairs
    from taosr_she.domain.domain import load_domain

    screen, target = console(), out.with_name(f"{out.name}.quarantine.jsonl")
    loaded = load_pairs(path, load_domain(domain), layout=layout, columns=columns(column), quarantine=target)
    write_pairs(out, loaded.pairs)
    say_loaded(screen, path, loaded, target)
    screen.print(f"wrote {out}", highlight=False)


def market(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    seed: Annotated[int, typer.Option(help="Another seed is another market.")] = 1,
    overrides: Overrides = None,
) -> None:
    """Generate a market: pairs by split, demonstrations, annotations and the truth of every step."""
    from taosr_she.data.market.market import SPLITS, generate_market
    from taosr_she.recipe.config import load_recipe
    from taosr_she.recipe.context import DataFolder

    recipe = load_recipe("demo", [f"stages.data.market.{o}" for o in overrides or []])
    config = recipe.stages["data"].market  # type: ignore[union-attr]
    generated = generate_market(config, seed)
    out.mkdir(parents=True, exist_ok=True)
    truth = [annotation for split in SPLITS for annotation in generated.truth(split)]
    counts = DataFolder(out).write(
        generated.pairs, generated.demonstrations, generated.annotations, generated.held_out, truth
    )
    console().print(f"{out}: " + ", ".join(f"{value} {key}" for key, value in counts.items()), highlight=False)
