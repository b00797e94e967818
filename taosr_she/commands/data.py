"""`taosr-she data`: check, convert and generate pairs."""

from pathlib import Path
from typing import Annotated

import typer

from taosr_she.base.errors import UserError
from taosr_she.base.terminal import terminal
from taosr_she.commands.checks import (
    check_file,
    check_folder,
    check_place,
    check_tool_file,
    not_an_input,
    quarantine_of,
)
from taosr_she.commands.options import (
    ColumnOption,
    DefuseOption,
    DomainOption,
    EncodingOption,
    FormatOption,
    ProductsOption,
    QueriesOption,
    RatingsOption,
    ToolLayoutOption,
    columns,
)
from taosr_she.commands.paths import path_argument, path_option
from taosr_she.commands.say import say_loaded


def validate(
    path: Annotated[Path, path_argument("File of pairs.")],
    domain: DomainOption = "taobao",
    layout: ToolLayoutOption = "auto",
    products: ProductsOption = None,
    queries: QueriesOption = None,
    ratings: RatingsOption = None,
    column: ColumnOption = None,
    quarantine: Annotated[Path | None, path_option("File for rejected rows (default: beside the input).")] = None,
    require_label: Annotated[bool, typer.Option(help="Reject pairs without a label.")] = False,
    encoding: EncodingOption = None,
) -> None:
    """Check a file of pairs: which rows are usable, which are not, and why. Exit code 1 if no row is usable."""
    from taosr_she.data.judged import Texts
    from taosr_she.data.validate import load_pairs
    from taosr_she.domain.domain import load_domain

    mapped, target = columns(column), quarantine or quarantine_of(path)
    not_an_input("--quarantine", target, path)
    check_place("--quarantine", target, target.parent)
    loaded = load_pairs(
        path, load_domain(domain), layout=layout, columns=mapped, require_label=require_label, quarantine=target,
        encoding=encoding, texts=Texts(products, queries, ratings),
    )  # fmt: skip
    say_loaded(terminal(), path, loaded.tally, target)
    if not loaded.pairs:
        raise typer.Exit(1)


def convert(
    path: Annotated[Path, path_argument("File of pairs.")],
    out: Annotated[Path, path_argument("Output: .jsonl, .csv, .tsv, .parquet; text formats also with .gz.")],
    domain: DomainOption = "taobao",
    layout: ToolLayoutOption = "auto",
    products: ProductsOption = None,
    queries: QueriesOption = None,
    format: FormatOption = None,
    ratings: RatingsOption = None,
    column: ColumnOption = None,
    encoding: EncodingOption = None,
    defuse: DefuseOption = False,
) -> None:
    """Convert pairs to the plain layout in another format, or to and from the formats of search tools."""
    from taosr_she.data import tools
    from taosr_she.data.judged import Texts
    from taosr_she.data.ratings import ratings as read_ratings
    from taosr_she.data.validate import load_pairs
    from taosr_she.data.write import write_pairs
    from taosr_she.domain.domain import load_domain

    mapped, screen, shop = columns(column), terminal(), load_domain(domain)
    if format is None:
        check_file("output", out, path)
    elif layout in tools.ENDINGS:
        raise UserError(f"--format {format}: the input has ratings too; convert it to pairs first")
    else:
        check_tool_file("output", out, format, path)
        scale = read_ratings(shop, ratings, unit=format in tools.UNIT)
        tools.check_scale(format, scale)
    target = quarantine_of(out)
    texts = Texts(products, queries, ratings if format is None else None)
    loaded = load_pairs(
        path, shop, layout=layout, columns=mapped, quarantine=target, encoding=encoding, texts=texts
    )  # fmt: skip
    if format is None:
        write_pairs(out, loaded.pairs, defuse)
        said = f"wrote {out}"
    else:
        labelled = ((pair, tools.document_id(pair, loaded.product_id), pair.label) for pair in loaded.pairs)
        said = tools.write_judgements(out, format, labelled, scale, defuse).told(out, format, scale)
    say_loaded(screen, path, loaded.tally, target)
    screen.print(said, soft_wrap=True)


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
