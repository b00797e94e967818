"""The metrics file of TRL's trainers, written step by step and truncated when a run resumes."""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from taosr_she.base.errors import UserError
from taosr_she.train.state import MetricsFile


class StepLog(TrainerCallback):
    """One JSON row per optimizer step: `step, loss, lr, seconds` and, before `lr`, further numbers of the trainer.

    `seconds` is training time since the first step, including earlier parts of a resumed run. A loss that is not finite
    ends the run with a UserError. Needs `logging_steps=1`.
    """

    def __init__(
        self,
        path: Path,
        on_step: Callable[[dict[str, float]], None] | None,
        what: str,
        names: Mapping[str, str] | None = None,
    ) -> None:
        """`what` is the trained model, for the message; `names`: column -> TRL's name of further numbers."""
        self._path, self._on_step, self._what, self._names = path, on_step, what, names or {}
        self._file: MetricsFile | None = None
        self._zero = 0.0  # monotonic time at which `seconds` would be 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._file = MetricsFile(self._path, state.global_step)
        self._zero = time.monotonic() - self._file.last.get("seconds", 0.0)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if not logs or "loss" not in logs:  # the summary at the end of training
            return
        if not math.isfinite(logs["loss"]):
            raise UserError(
                f"{self._what}: the loss is {logs['loss']} at step {state.global_step}: lower 'learning_rate'"
            )
        row = {"step": state.global_step, "loss": logs["loss"]}
        row |= {ours: logs[theirs] for ours, theirs in self._names.items()}
        row |= {"lr": logs["learning_rate"], "seconds": round(time.monotonic() - self._zero, 3)}
        assert self._file is not None  # the Trainer logs between begin and end
        self._file.write(row)
        if self._on_step:
            self._on_step(row)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        assert self._file is not None
        self._file.close()
