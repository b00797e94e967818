"""The metrics file of training on preferences (scalar reward model, DPO), written step by step."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from taosr_she.base.errors import UserError
from taosr_she.train.rl.state import MetricsFile


class PreferenceLog(TrainerCallback):
    """One JSON row an optimizer step: `step, loss, accuracy, margin, lr, seconds`. Needs `logging_steps=1`.

    A loss that is not finite ends the run with a UserError.
    """

    def __init__(
        self, path: Path, on_step: Callable[[dict[str, float]], None] | None, what: str, accuracy: str, margin: str
    ) -> None:
        """`what` is trained, for the message; `accuracy` and `margin` are TRL's names of these two."""
        self._what, self._names = what, {"accuracy": accuracy, "margin": margin}
        self._file = MetricsFile(path, 0)
        self._on_step = on_step
        self._start = time.monotonic()

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
        row |= {"lr": logs["learning_rate"], "seconds": round(time.monotonic() - self._start, 3)}
        self._file.write(row)
        if self._on_step:
            self._on_step(row)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._file.close()
