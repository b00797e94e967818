"""Evaluates a policy on development pairs every few updates of its training, for learning curves."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from taosr_she.base.config import Strict
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.examine.verdicts import Examiner

if TYPE_CHECKING:
    from taosr_she.model.policy import Policy
    from taosr_she.train.state import MetricsFile

WATCH = "watch.jsonl"
WATCHED = ("macro_f1", "accuracy", "steps_all_right", "right_label_wrong_reasoning", "malformed")


class WatchConfig(Strict):
    """Which pairs are used, and how often. The results decide nothing, and the test split is not touched."""

    every: int = Field(default=5, gt=0)
    """Number of updates between two evaluations. The first evaluation is before the first update."""
    pairs: int = Field(default=300, gt=0)
    """Maximum number of pairs; the first ones of the development split are used."""
    max_new_tokens: int = Field(default=128, gt=0)
    """Maximum length of a response, in tokens."""


class Watch:
    """Greedy responses to development pairs. Each evaluation writes a row to `watch.jsonl`: `step`, `tokens`,
    `seconds`, metrics.

    `tokens` and `seconds` are the cost of training so far, without these evaluations. Rows of updates that a resumed
    run repeats are dropped and written again.
    """

    def __init__(self, config: WatchConfig, domain: Domain, pairs: Sequence[Pair], truth: Examiner, rows: int) -> None:
        """`truth` examines the steps against references; `rows` is the number of responses generated at a time."""
        self.config, self.domain, self.truth, self.rows = config, domain, truth, rows
        self.pairs = list(pairs)[: config.pairs]
        self._file: MetricsFile | None = None

    def leads_to(self, folder: Path, finished: int) -> bool:
        """Whether the rows of all evaluations before `finished` updates exist."""
        from taosr_she.train.state import metrics_rows

        looks = [row["step"] for row in metrics_rows(folder / WATCH) if row["step"] < finished]
        return looks == list(range(0, finished, self.config.every))

    def open(self, folder: Path, finished: int) -> None:
        """Continue after `finished` updates."""
        from taosr_she.train.state import MetricsFile

        self._file = MetricsFile(folder / WATCH, finished)

    def look(self, policy: "Policy", step: int, tokens: int, seconds: float) -> None:
        """Evaluate and write a row, if one is due after `step` updates and was not written before a kill."""
        from taosr_she.evaluate.metrics import compute_metrics
        from taosr_she.evaluate.run import predict

        assert self._file is not None, "open() comes first"
        if step % self.config.every or self._file.last.get("step", -1) >= step:
            return
        predictions = predict(
            policy, self.domain, self.pairs, self.truth, self.config.max_new_tokens, self.rows
        ).predictions
        metrics = compute_metrics(self.domain, predictions)
        steps = [f"step_{key}" for key in self.domain.step_keys]
        row: dict[str, Any] = {"step": step, "tokens": tokens, "seconds": round(seconds, 3)}
        # JSON has no NaN: a metric that is undefined here is null.
        row |= {k: None if metrics[k] != metrics[k] else metrics[k] for k in (*WATCHED, *steps)}
        self._file.write(row)
        self._file.sync()

    def close(self) -> None:
        assert self._file is not None
        self._file.close()
