"""Checks a model folder before a library reads it: what is missing, damaged or of the wrong kind, in one line."""

import json
from pathlib import Path
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.model.names import BOXED, check_available

OBJECTS = (
    "config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "model.safetensors.index.json", "pytorch_model.bin.index.json",
)  # fmt: skip
"""Files with one JSON object each. Libraries assume this, and otherwise fail with an obscure error."""

ADAPTER_FILE, BASE_FILE = "adapter_config.json", "base.json"
"""Files that mark a folder as an adapter; in the second we say more about its base model than PEFT does (`adapter`)."""

POINTER = b"version https://git-lfs.github.com/spec/"
"""Start of a Git LFS pointer, which a clone without `git lfs` has instead of a large file."""


def check_folder(name: str) -> None:
    """A name that looks like a folder must be one, with a model and a tokenizer: the hub is not asked for a path.

    A short name of ours needs its model on this machine. Raises a UserError that names the folder as it was written.
    """
    check_available(name)
    if name in BOXED:
        return
    folder = Path(name)
    if not folder.exists():
        if folder.is_absolute() or name.count("/") > 1 or name.startswith("."):
            raise UserError(f"model {name}: no such folder")
        return
    if not folder.is_dir():
        raise UserError(f"model {name}: is a file; name the Hugging Face model folder that contains it")
    if is_adapter(name):
        check_folder(base_of(name))
        return
    if not (folder / "config.json").is_file():
        raise UserError(f"model {name}: it has no config.json; expected a Hugging Face model folder")
    for file in sorted(folder.iterdir()):
        if file.is_file() and _begins(file, POINTER):
            raise UserError(f"model {name}: {file.name} is a Git LFS pointer, not the file itself; run `git lfs pull`")
    config = {file: json_object(name, folder / file) for file in OBJECTS if (folder / file).is_file()}["config.json"]
    if not any(file.name.startswith(("tokenizer.", "vocab", "spiece", "tekken")) for file in folder.iterdir()):
        raise UserError(f"model {name}: it has no tokenizer (tokenizer.json); copy that of the base model")
    _check_own_code(name, config)


def is_adapter(name: str | Path) -> bool:
    """Whether the folder contains an adapter."""
    return (Path(name) / ADAPTER_FILE).is_file()


def base_of(name: str) -> str:
    """The base model of the adapter in the folder `name`: a folder, or a name on the hub.

    Raises UserError if no file names it, and if its folder does not exist.
    """
    folder = Path(name)
    record = adapter_base(name)
    named = json_object(name, folder / ADAPTER_FILE).get("base_model_name_or_path")
    if isinstance(record.get("folder"), str) and (folder / record["folder"]).is_dir():
        return str((folder / record["folder"]).resolve())
    if isinstance(record.get("name"), str):
        return str(record["name"])
    if not isinstance(named, str) or not named:
        raise UserError(f"model {name}: {ADAPTER_FILE} of this adapter names no base model (base_model_name_or_path)")
    if Path(named).is_dir() or not (Path(named).is_absolute() or named.startswith(".") or named.count("/") > 1):
        return named
    raise UserError(f"model {name}: base model {named} of this adapter does not exist; restore it, or use `merged`")


def adapter_base(name: str) -> dict[str, Any]:
    """The contents of `base.json` about an adapter's base model; empty if we did not write the adapter."""
    file = Path(name) / BASE_FILE
    return json_object(name, file) if file.is_file() else {}


def _begins(file: Path, start: bytes) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(start)) == start


def json_object(name: str, file: Path) -> dict[str, Any]:
    """The JSON object in a file of the model `name`. Raises UserError if the file has none."""
    try:
        value = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise UserError(f"model {name}: {file.name} is not JSON ({error}); download it again") from error
    if not isinstance(value, dict):
        raise UserError(f"model {name}: {file.name} is not a JSON object; download it again")
    return value


def _check_own_code(name: str, config: dict[str, Any]) -> None:
    """Custom code of a folder is never run. Many folders no longer need it, because transformers includes it."""
    from transformers import CONFIG_MAPPING

    kind = config.get("model_type")
    if config.get("auto_map") and not (isinstance(kind, str) and kind in CONFIG_MAPPING):
        raise UserError(
            f"model {name}: it needs custom code (auto_map), which is never run; use a model whose architecture is "
            "part of transformers"
        )
