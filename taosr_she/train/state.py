"""Resumable state and metrics of a training stage: written whole or not at all, so that a kill loses little."""

import json
import os
from pathlib import Path
from typing import Any

import torch

from taosr_she.errors import disk_errors


def save_state(folder: Path, update: int, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write `state.pt` (model, optimizer, number of finished updates) through a temporary file."""
    target = folder / "state.pt"
    part = folder / "state.pt.part"
    with disk_errors(part), part.open("wb") as file:  # into an open file: with a path torch does not say what failed
        torch.save({"update": update, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    os.replace(part, target)


def load_state(folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Restore model and optimizer in place; the number of finished updates, 0 when there is no state."""
    path = folder / "state.pt"
    if not path.is_file():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["update"])


class MetricsFile:
    """JSONL, one row an update, flushed at once. Opening it drops rows that the resumed run will write again."""

    def __init__(self, path: Path, finished: int) -> None:
        rows = []
        if path.is_file():
            for line in path.read_text("utf-8").splitlines():
                try:
                    row = json.loads(line)
                except json.JSONDecodeError:
                    break  # the line that was being written when the run was killed
                if row["step"] > finished:
                    break
                rows.append(line)
        self.kept: list[dict[str, Any]] = [json.loads(line) for line in rows]
        """Rows of the updates that a resumed run does not repeat."""
        self.last: dict[str, Any] = self.kept[-1] if rows else {}
        part = path.with_suffix(".part")
        part.write_text("".join(line + "\n" for line in rows), "utf-8")
        os.replace(part, path)
        self._file = path.open("a", encoding="utf-8")

    def write(self, row: dict[str, Any]) -> None:
        self.last = row
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()
