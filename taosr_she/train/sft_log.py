"""The metrics file of supervised fine-tuning, written step by step and cut back when a run resumes."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from taosr_she.errors import UserError


class StepLog(TrainerCallback):
    """One JSON row an optimizer step: `step, loss (mean over response tokens), lr, seconds`.

    `seconds` counts training time from the first step, earlier sittings of a resumed run included. A loss that is not
    finite ends the run with a UserError. Needs `logging_steps=1`.
    """

    def __init__(self, path: Path, on_step: Callable[[dict[str, float]], None] | None = None) -> None:
        self._path = path
        self._on_step = on_step
        self._file: TextIO | None = None
        self._zero = 0.0  # monotonic time at which `seconds` would be 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        # Rows after the resumed checkpoint belong to steps that are run again; row n is step n.
        done = self._path.read_text("utf-8").splitlines()[: state.global_step] if self._path.is_file() else []
        self._zero = time.monotonic() - (json.loads(done[-1])["seconds"] if done else 0.0)
        self._file = self._path.open("w", encoding="utf-8")
        self._file.writelines(f"{line}\n" for line in done)
        self._file.flush()

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
            raise UserError(f"SFT: the loss is {logs['loss']} at step {state.global_step}: lower 'learning_rate'")
        seconds = round(time.monotonic() - self._zero, 3)
        row = {"step": state.global_step, "loss": logs["loss"], "lr": logs["learning_rate"], "seconds": seconds}
        assert self._file is not None  # the Trainer logs between begin and end
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        if self._on_step:
            self._on_step(row)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        assert self._file is not None
        self._file.close()
