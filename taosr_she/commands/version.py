"""`taosr-she --version`: the versions that a bug report needs. Imports none of the libraries."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from taosr_she import __version__

LIBRARIES = ("torch", "transformers", "trl", "tokenizers")
NVIDIA = Path("/proc/driver/nvidia/gpus")
"""Folder in which the Linux driver lists its cards. Asking torch would take seconds."""


def versions() -> list[str]:
    """Lines with a name and a version each; the last line is the device."""
    found = {"taosr-she": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    found["device"] = device(found["torch"])
    return [f"{name} {value}" for name, value in found.items()]


def device(torch_version: str, cards: Path = NVIDIA) -> str:
    """The GPUs that the driver lists, with a note if torch cannot use them; otherwise the CPU."""
    gpus = [_model(card / "information") for card in sorted(cards.glob("*"))]
    cpu = f"{os.cpu_count()} CPUs ({platform.machine()})"
    if not gpus:
        return cpu
    return f"{', '.join(gpus)}, but torch is built for the CPU only" if "+cpu" in torch_version else ", ".join(gpus)


def _model(information: Path) -> str:
    try:
        lines = information.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return "NVIDIA GPU"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("Model:")), "NVIDIA GPU")
