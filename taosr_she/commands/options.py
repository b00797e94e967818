"""Options that several commands share, described in the same words everywhere."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from taosr_she.base.errors import UserError
from taosr_she.commands.paths import path_option

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
    bool, typer.Option("--force-domain", help="Use --domain even if the model was trained for another one.")
]
LayoutOption = Annotated[str, typer.Option("--layout", help="auto, plain, esci, esci-sample, chorus, wands, rair.")]
ToolLayoutOption = Annotated[
    str,
    typer.Option(
        "--layout",
        help="auto, plain, esci, esci-sample, chorus, wands, rair; trec, quepid, opensearch, ranx (with --products).",
    ),
]
ProductsOption = Annotated[
    Path | None,
    path_option("Products by id, for the layouts trec, quepid, opensearch and ranx, which have no texts."),
]
QueriesOption = Annotated[
    Path | None, path_option("Queries by id, for the layouts trec and ranx, which have no texts.")
]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option("--column", help="field=column, our field and the file's column: query=search_term. Repeatable."),
]
EncodingOption = Annotated[
    str | None,
    typer.Option("--encoding", help="Encoding of a text file that is not UTF-8: cp1252, gb18030, shift_jis, ..."),
]
DefuseOption = Annotated[
    bool,
    typer.Option(
        "--defuse", help="In CSV and TSV, put a quote (') before cells that a spreadsheet would run as a formula."
    ),
]
FormatOption = Annotated[
    Literal["trec", "quepid", "opensearch", "ranx"] | None,
    typer.Option("--format", help="Write the labels as ratings in the format of a search tool (docs/judging.md)."),
]
RatingsOption = Annotated[
    str | None,
    typer.Option(
        "--ratings",
        help="Meaning of a search tool's ratings: 3=E,2=S,1=C,0=I, or codes. Default: 0 for the worst label, 1 for the "
        "next, ...; opensearch: the same between 0 and 1.",
    ),
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto (a GPU if there is one), cpu, cuda, cuda:0, ...")]
AsWrittenOption = Annotated[
    bool,
    typer.Option("--as-written", help="Take labels as written, even if the model folder has a decision.json."),
]
RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Judge on a Ray cluster (extra `ray`): HOST:PORT; auto, the cluster of this machine; local, one for this "
        "job alone.",
    ),
]
ActorsOption = Annotated[
    int | None,
    typer.Option("--actors", min=1, help="With --ray: processes with the model.", show_default="as many as fit"),
]
ActorCoresOption = Annotated[
    int, typer.Option("--actor-cores", min=1, help="With --ray: cores of each actor. On GPUs each also has one GPU.")
]
LengthOption = Annotated[int, typer.Option("--max-new-tokens", min=1, help="Maximum length of a response, in tokens.")]


def columns(options: list[str] | None) -> dict[str, str] | None:
    """`["query=search_term"]` -> `{"query": "search_term"}`; None if no option is given."""
    if not options:
        return None
    mapped: dict[str, str] = {}
    for option in options:
        field, equals, column = option.partition("=")
        if not equals or not field or not column:
            raise UserError(f"--column {option}: expected field=column, e.g. query=search_term")
        if field in mapped:
            raise UserError(f"--column {option}: '{field}' was already given as {mapped[field]}; name one column")
        mapped[field] = column
    return mapped
