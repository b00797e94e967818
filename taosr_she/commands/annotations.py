"""`taosr-she annotations`: import and export of annotations, and how well annotators agree."""

from pathlib import Path
from typing import Annotated, Any

import typer

from taosr_she.base.errors import UserError
from taosr_she.base.terminal import terminal
from taosr_she.commands.options import DomainOption
from taosr_she.commands.paths import path_argument, path_option

StoreArgument = Annotated[str, typer.Argument(help="SQLite file (.db) or database URL.")]
PEOPLE = ("queryner", "raters")
ImportLayout = Annotated[
    str,
    typer.Option("--layout", help="jsonl, label_studio, stepwise (TRL), queryner (marked queries), raters (pairs)."),
]
AnnotationLayout = Annotated[str, typer.Option("--layout", help="jsonl, label_studio, stepwise (TRL).")]


def import_(
    path: Annotated[Path, path_argument("File of annotations, of marked queries or of rated pairs.")],
    store: StoreArgument,
    layout: ImportLayout = "jsonl",
    domain: DomainOption = "taobao",
    pairs: Annotated[Path | None, path_option("With queryner: the pairs whose queries were marked.")] = None,
) -> None:
    """Add the records of a file to a store."""
    from taosr_she.examine.command import import_file, import_people

    chosen = _annotation_layout(layout, *PEOPLE)
    if chosen in PEOPLE:
        import_people(terminal(), path, store, chosen, domain, pairs)
    else:
        import_file(terminal(), path, store, chosen, domain)


def export(
    store: StoreArgument,
    path: Annotated[Path, path_argument("File to write.")],
    layout: AnnotationLayout = "jsonl",
    pairs: Annotated[Path | None, path_option("The pairs; needed for label_studio and stepwise.")] = None,
    domain: DomainOption = "taobao",
) -> None:
    """Write all records of a store to a file."""
    from taosr_she.examine.command import export_file

    export_file(terminal(), store, path, _annotation_layout(layout), domain, pairs)


def agreement(store: StoreArgument, domain: DomainOption = "taobao") -> None:
    """Show how well annotators agree, and who differs from the others. Also reads a JSONL file of annotations.

    Of a store whose annotation page shows critiques, also whether they help.
    """
    from taosr_she.annotate.command import tell_critiques
    from taosr_she.examine.command import show_agreement

    show_agreement(terminal(), store, domain)
    tell_critiques(terminal(), store)


def _annotation_layout(layout: str, *more: str) -> Any:
    known = ("jsonl", "label_studio", "stepwise", *more)
    if layout not in known:
        *others, last = known
        raise UserError(f"--layout {layout}: expected {', '.join(others)} or {last}")
    return layout
