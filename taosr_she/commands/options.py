"""Options that several commands share, in the same words everywhere."""

from typing import Annotated

import typer

from taosr_she.errors import UserError

Overrides = Annotated[list[str] | None, typer.Argument(help="key.sub=value, e.g. seed=2", show_default=False)]
DomainOption = Annotated[str, typer.Option("--domain", help="taobao, esci, wands, or a YAML file.")]
LayoutOption = Annotated[str, typer.Option("--layout", help="auto, plain, esci, esci-sample, wands, rair.")]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option("--column", help="Our field = the file's column: query=search_term. Repeatable."),
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto (a GPU if there is one), cpu, cuda, cuda:0, ...")]
LengthOption = Annotated[int, typer.Option("--max-new-tokens", help="Longest response, in tokens.")]


def columns(options: list[str] | None) -> dict[str, str] | None:
    """`["query=search_term"]` -> `{"query": "search_term"}`; None without any."""
    if not options:
        return None
    for option in options:
        if "=" not in option:
            raise UserError(f"--column {option}: expected field=column, e.g. query=search_term")
    return dict(option.split("=", 1) for option in options)
