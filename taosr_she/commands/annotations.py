"""`taosr-she annotations`: import and export of annotations, and how well annotators agree."""

from pathlib import Path
from typing import Annotated, Any

import typer

from taosr_she.base.errors import UserError
from taosr_she.base.terminal import terminal
from taosr_she.commands.options import DomainOption
from taosr_she.commands.paths import path_argument, path_option

StoreArgument = Annotated[str, typer.Argument(help="SQLite file (.db) or database URL.")]
AnnotationLayout = Annotated[str, typer.Option("--layout", help="jsonl, label_studio, stepwise (TRL).")]


def import_(
    path: Annotated[Path, path_argument("File of annotations.")],
    store: StoreArgument,
    layout: AnnotationLayout = "jsonl",
    domain: DomainOption = "taobao",
) -> None:
    """Add the records of a file to a store."""
    from taosr_she.examine.command import import_file

    import_file(terminal(), path, store, _annotation_layout(layout), domain)


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
    """Show how well annotators agree, and who differs from the others. Also reads a JSONL file of annotations."""
    from taosr_she.examine.command import show_agreement

    show_agreement(terminal(), store, domain)


def _annotation_layout(layout: str) -> Any:
    if layout not in ("jsonl", "label_studio", "stepwise"):
        raise UserError(f"--layout {layout}: expected jsonl, label_studio or stepwise")
    return layout
