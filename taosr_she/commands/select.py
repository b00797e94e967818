"""`taosr-she select`: which pairs are worth training on."""

from pathlib import Path
from typing import Annotated

import typer

from taosr_she.commands.options import ColumnOption, DeviceOption, DomainOption, LayoutOption, Overrides, columns
from taosr_she.commands.say import console


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
    device: DeviceOption = "auto",
) -> None:
    """Choose the pairs worth training on: neither too easy nor too hard, and different from each other."""
    from taosr_she.select.command import select_file

    select_file(console(), pairs, out, model, domain, annotations, overrides or [], layout, columns(column), device)
