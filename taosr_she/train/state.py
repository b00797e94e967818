"""Resumable state and metrics of a training stage, written completely or not at all, so a kill loses little.

A state that cannot be read, or does not match the rows of the metrics file, is ignored: training then starts again,
with a warning, and ends with the same numbers.
"""

import json
import logging
import zipfile
from pathlib import Path
from typing import Any

import torch

from taosr_she.base.errors import disk_errors
from taosr_she.base.files import dumps, replacing, sync, write_text

STATE = "state.pt"


def save_state(folder: Path, update: int, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write `state.pt` (model, optimizer, number of finished updates), synced, through a temporary file."""
    with replacing(folder / STATE) as part, disk_errors(folder / STATE), part.open("wb") as file:
        # Into an open file: with a path torch does not say what failed.
        torch.save({"update": update, "model": _weights(model), "optimizer": optimizer.state_dict()}, file)


def load_state(folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Restore model and optimizer in place. Returns the number of finished updates; 0 if there is no usable state."""
    path = folder / STATE
    if not path.is_file():
        return 0
    wrong = _broken(path)
    if wrong is None:
        state = torch.load(path, map_location="cpu", weights_only=True)
        wrong = _unlike(state, model) or _load_optimizer(optimizer, state["optimizer"])
        if wrong is None:
            model.load_state_dict(state["model"], strict=False)  # names and shapes were compared
            return int(state["update"])
    logging.getLogger(__name__).warning("%s: %s; training starts again from its first update", path, wrong)
    return 0


def _weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The trained weights by name, without frozen ones, which are in the start model."""
    frozen = {name for name, w in model.named_parameters(remove_duplicate=False) if not w.requires_grad}
    return {name: weight for name, weight in model.state_dict().items() if name not in frozen}


def _load_optimizer(optimizer: torch.optim.Optimizer, state: Any) -> str | None:
    try:
        optimizer.load_state_dict(state)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"the state of another optimizer ({error})"
    return None


def saved_updates(folder: Path) -> int:
    """Number of finished updates in a folder's state, without reading its weights; 0 without a state."""
    path = folder / STATE
    if not path.is_file() or _broken(path, whole=False):
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    update = state.get("update") if isinstance(state, dict) else None
    return update if isinstance(update, int) else 0


def broken_archive(path: Path, whole: bool = True) -> str | None:
    """The problem of a file written by `torch.save`, or None. It is a zip archive; `whole` compares its checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip() if whole else None
            return f"damaged ({bad})" if bad else None
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError):
        return "damaged or cut short"


def _broken(path: Path, whole: bool = True) -> str | None:
    wrong = broken_archive(path, whole)
    if wrong is None:
        try:
            torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:  # some other archive: pickle and torch can raise anything
            wrong = f"not a training state ({type(error).__name__})"
    return wrong


def _unlike(state: Any, model: torch.nn.Module) -> str | None:
    """Why the state does not fit the model, checked before the model is changed."""
    if not isinstance(state, dict) or not {"update", "model", "optimizer"} <= state.keys():
        return "not a training state"
    if not isinstance(state["update"], int) or not isinstance(state["model"], dict):
        return "no state of ours"
    own = {name: tuple(weight.shape) for name, weight in _weights(model).items()}
    shapes = {name: tuple(getattr(weight, "shape", ())) for name, weight in state["model"].items()}
    return None if own == shapes else "the state of another model"


def metrics_rows(path: Path) -> list[dict[str, Any]]:
    """The rows up to the first invalid line, which was being written at a kill or is damaged."""
    rows: list[dict[str, Any]] = []
    if not path.is_file():
        return rows
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            break
        step = row.get("step") if isinstance(row, dict) else None
        if not isinstance(step, int) or (rows and step <= rows[-1]["step"]):
            break
        rows.append(row)
    return rows


def rows_lead_to(path: Path, finished: int) -> bool:
    """Whether the rows of all finished updates exist."""
    return [row["step"] for row in metrics_rows(path)[:finished]] == list(range(1, finished + 1))


def as_read(row: dict[str, Any]) -> dict[str, Any]:
    """A row as a resumed run reads it from the file (null, not NaN), so both make the same decisions."""
    read: dict[str, Any] = json.loads(dumps(row))
    return read


class MetricsFile:
    """JSONL with one row per update, flushed at once. Opening it drops rows that the resumed run will write again."""

    def __init__(self, path: Path, finished: int) -> None:
        self.kept = [row for row in metrics_rows(path) if row["step"] <= finished]
        """Rows of the updates that a resumed run does not repeat."""
        self.last: dict[str, Any] = self.kept[-1] if self.kept else {}
        write_text(path, "".join(dumps(row) + "\n" for row in self.kept))
        self._path = path
        self._file = path.open("a", encoding="utf-8")

    def write(self, row: dict[str, Any]) -> None:
        self.last = row
        self._file.write(dumps(row) + "\n")
        self._file.flush()

    def sync(self) -> None:
        """Return once all rows are on the disk. Call this before a state that includes them is written."""
        sync(self._path)

    def close(self) -> None:
        self.sync()
        self._file.close()
