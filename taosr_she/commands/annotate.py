"""`taosr-she annotate`: the page on which people judge steps."""

from pathlib import Path
from typing import Annotated

import typer

from taosr_she.base.errors import UserError
from taosr_she.base.terminal import terminal
from taosr_she.commands.options import DomainOption
from taosr_she.commands.paths import path_argument, path_option

StoreArgument = Annotated[str, typer.Argument(help="SQLite file (.db) or database URL.")]
DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8321


def queue(
    store: StoreArgument,
    path: Annotated[Path, path_argument("Responses (written by judge or examine); with --references, pairs.")],
    domain: DomainOption = "taobao",
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=SHARE: disagreement, uncertain, critical, tail, random. Repeatable. "
            "Default: a quarter each of disagreement, uncertain, critical and random if a GSRM examined the responses, "
            "else random."
        ),
    ] = None,
    step: Annotated[list[str] | None, typer.Option(help="Ask only for this step. Repeatable.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Number of items to add.", show_default="all")] = None,
    double: Annotated[float, typer.Option(min=0, max=1, help="Share of the items that two people annotate.")] = 0.1,
    references: Annotated[
        bool, typer.Option("--references", help="Ask for people's own conclusions, without showing any response.")
    ] = False,
    gold: Annotated[
        str | None, typer.Option(help="Annotations that are known to be right; their responses check the annotators.")
    ] = None,
    gold_share: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of gold in each annotator's items.", show_default="0.05")
    ] = None,
    critiques: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of the items that show the GSRM's critiques, folded; the others keep them back, to compare. "
            "Never items chosen by `random`.",
        ),
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
) -> None:
    """Add responses or pairs to what annotators get. Adding the same again changes nothing."""
    from taosr_she.annotate.command import fill_queue, read_shares

    shares = read_shares(policy)
    fill_queue(
        terminal(),
        store,
        path,
        domain,
        shares,
        step or [],
        limit,
        double,
        references,
        gold,
        gold_share,
        seed,
        critiques,
    )


def link(
    store: StoreArgument,
    names: Annotated[list[str] | None, typer.Argument(help="Annotators, known or new.")] = None,
    lead: Annotated[list[str] | None, typer.Option(help="A lead, who sees everything. Repeatable.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="Withdraw this person's link. Repeatable.")] = None,
    url: Annotated[str, typer.Option(help="Address at which people reach the page.")] = (
        f"http://{DEFAULT_HOST}:{DEFAULT_PORT}"
    ),
) -> None:
    """Give people their links, each shown once; a new link replaces the former one. Without names, list everybody."""
    from taosr_she.annotate.command import give_links

    if not url.startswith(("http://", "https://")):
        raise UserError(f"--url {url}: expected an address such as https://annotate.example.org")
    give_links(terminal(), store, names or [], lead or [], remove or [], url.rstrip("/"))


def serve(
    store: StoreArgument,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = DEFAULT_HOST,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port.")] = DEFAULT_PORT,
    guideline: Annotated[Path | None, path_option("Text that the page shows beside the rule book.")] = None,
    lease: Annotated[float, typer.Option(min=1, help="Minutes until an untouched item goes to somebody else.")] = 30,
) -> None:
    """Serve the page, until Ctrl-C."""
    from taosr_she.annotate.command import serve_page

    serve_page(terminal(), store, host, port, guideline, lease)
