"""`taosr-she select`: which pairs are worth training on."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from taosr_she.base.terminal import terminal
from taosr_she.commands.checks import check_folder, not_an_input
from taosr_she.commands.options import (
    ColumnOption,
    DeviceOption,
    EncodingOption,
    ForceDomainOption,
    LayoutOption,
    ModelDomainOption,
    Overrides,
    columns,
)
from taosr_she.commands.paths import path_argument, path_option


def select(
    pairs: Annotated[Path, path_argument("File of pairs.")],
    overrides: Overrides = None,
    out: Annotated[Path, path_option("Folder to write.")] = Path("selection"),
    model: Annotated[
        str | None, typer.Option(help="Model whose rollouts measure difficulty, named as in `judge`.")
    ] = None,
    annotations: Annotated[str | None, typer.Option(help="Reference annotations: JSONL, SQLite file or URL.")] = None,
    domain: ModelDomainOption = None,
    force_domain: ForceDomainOption = False,
    layout: LayoutOption = "auto",
    column: ColumnOption = None,
    device: DeviceOption = "auto",
    encoding: EncodingOption = None,
) -> None:
    """Choose the pairs worth training on: neither too easy nor too hard, and different from each other.

    Without --model, the domain is taobao unless --domain names another.
    """
    from taosr_she.domain.domain import load_domain
    from taosr_she.model.domain_file import choose_domain

    check_folder("--out", out)
    for written in ("quarantine.jsonl", "selected.jsonl", "dropped.jsonl"):
        not_an_input("--out", out / written, pairs)
    mapped = columns(column)
    shop = choose_domain(domain, model, force_domain) if model else load_domain(domain or "taobao")

    from taosr_she.recipe.progress import Progress
    from taosr_she.select.command import select_file

    screen = terminal()
    with Progress(screen) as progress:
        update: Callable[[int, str], None] | None = None

        def on_part(done: int, parts: int) -> None:
            nonlocal update
            update = update or progress.stage("sampling", parts)
            update(done, "parts")

        select_file(
            screen, pairs, out, model, shop, annotations, overrides or [], layout, mapped, device, encoding, on_part
        )
