"""Options that several commands share, in the same words everywhere."""

from typing import Annotated

import typer

from taosr_she.base.errors import UserError

Overrides = Annotated[list[str] | None, typer.Argument(help="key.sub=value, e.g. seed=2", show_default=False)]
DomainOption = Annotated[str, typer.Option("--domain", help="taobao, esci, wands, chorus, esci-typed, or a YAML file.")]
ModelDomainOption = Annotated[
    str | None,
    typer.Option(
        "--domain",
        help="taobao, esci, wands, chorus, esci-typed, or a YAML file. Default: domain.yaml beside the model.",
    ),
]
ForceDomainOption = Annotated[
    bool, typer.Option("--force-domain", help="Take --domain although the model was trained for another one.")
]
LayoutOption = Annotated[str, typer.Option("--layout", help="auto, plain, esci, esci-sample, chorus, wands, rair.")]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option("--column", help="Our field = the file's column: query=search_term. Repeatable."),
]
EncodingOption = Annotated[
    str | None,
    typer.Option("--encoding", help="Of a text file that is not UTF-8: cp1252, gb18030, shift_jis, ..."),
]
DefuseOption = Annotated[
    bool,
    typer.Option(
        "--defuse", help="In CSV and TSV, put a quote (') before cells that a spreadsheet would run as a formula."
    ),
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto (a GPU if there is one), cpu, cuda, cuda:0, ...")]
LengthOption = Annotated[int, typer.Option("--max-new-tokens", min=1, help="Longest response, in tokens.")]


def columns(options: list[str] | None) -> dict[str, str] | None:
    """`["query=search_term"]` -> `{"query": "search_term"}`; None without any."""
    if not options:
        return None
    mapped: dict[str, str] = {}
    for option in options:
        field, found, column = option.partition("=")
        if not found or not field or not column:
            raise UserError(f"--column {option}: expected field=column, e.g. query=search_term")
        if field in mapped:
            raise UserError(f"--column {option}: '{field}' was given before, as {mapped[field]}; name one column")
        mapped[field] = column
    return mapped
