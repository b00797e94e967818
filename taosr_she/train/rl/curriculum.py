"""The curriculum: training in stages, each with its own pairs and settings, and a rule that ends it.

Follows the abstract of TaoSR-SHE (2510.07972), "a multi-stage curriculum", with documented choices. The position of a
run depends only on the rows of its metrics file. So a killed run resumes in the same stage and makes the same
decisions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, model_validator

from taosr_she.base.config import Strict
from taosr_she.base.errors import UserError
from taosr_she.base.overrides import merged
from taosr_she.domain.pair import Pair
from taosr_she.train.rl.settings import StepCreditSettings

Row = Mapping[str, Any]


class CurriculumStage(Strict):
    """One stage. It ends as soon as one of its rules applies."""

    name: str = Field(min_length=1)
    """Name of the stage in the metrics."""
    updates: int = Field(gt=0)
    """Maximum number of updates in the stage."""
    pairs: str | None = None
    """Name of its own select stage (with another band or diversity budget). Default: that of the rl stage."""
    pass_low: float = Field(default=0.0, ge=0, le=1)
    """Minimum pass rate of its pairs, as measured by the select stage."""
    pass_high: float = Field(default=1.0, ge=0, le=1)
    """Maximum pass rate of its pairs."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Overrides of the rl stage's settings, e.g. `{credit: {step_weight: 0.5}, sampling: {temperature: 1.2}}`."""
    metric: str = "reward"
    """The metric for the two rules below: a column of the metrics file."""
    reaches: float | None = None
    """End the stage when the metric's mean over `window` updates is at least this."""
    plateau: float | None = None
    """End the stage on a plateau: when the metric's mean over the last `window` updates exceeds the mean over the
    `window` updates before by less than this."""
    on_plateau: Literal["promote", "stop"] = "promote"
    """Effect of a plateau: `promote` starts the next stage, `stop` ends training."""
    window: int = Field(default=5, gt=0)
    """Number of updates to average over."""

    @model_validator(mode="after")
    def _check(self) -> "CurriculumStage":
        if self.pass_low > self.pass_high:
            raise ValueError(f"pass_low {self.pass_low} is above pass_high {self.pass_high}")
        if "updates" in self.settings:
            raise ValueError("`updates` belongs to the curriculum stage, not to its settings")
        if "lora" in self.settings:
            raise ValueError("`lora` belongs to the settings of the rl stage: its curriculum trains one model")
        return self

    def resolve(self, base: StepCreditSettings) -> StepCreditSettings:
        """The base settings, overridden by this stage's. Raises pydantic's ValidationError for an unknown setting."""
        return StepCreditSettings.model_validate(merged(base.model_dump(), self.settings))

    def ending(self, rows: Sequence[Row]) -> str | None:
        """The reason why the stage ends after these rows (`reached`, `plateau` or `budget`), or None."""
        values = [float(row[self.metric]) for row in rows if row.get(self.metric) is not None]
        if (self.reaches is not None or self.plateau is not None) and rows and self.metric not in rows[-1]:
            raise UserError(
                f"curriculum stage '{self.name}': the metrics have no column '{self.metric}'; "
                f"they have {', '.join(rows[-1])}"
            )
        last, before = values[-self.window :], values[-2 * self.window : -self.window]
        if self.reaches is not None and len(last) == self.window and _mean(last) >= self.reaches:
            return "reached"
        if self.plateau is not None and len(before) == self.window and _mean(last) - _mean(before) < self.plateau:
            return "plateau"
        return "budget" if len(rows) >= self.updates else None


@dataclass(frozen=True)
class Leg:
    """Pairs and settings of the next update."""

    pairs: Sequence[Pair]
    settings: StepCreditSettings
    stage: str | None = None  # name of the curriculum stage


class Curriculum:
    """The sequence of stages in a run: `next_leg` returns the next part, given the rows written so far."""

    def __init__(
        self, stages: Sequence[CurriculumStage], base: StepCreditSettings, pools: Sequence[Sequence[Pair]]
    ) -> None:
        """`pools` has the pairs of each stage."""
        self.stages = list(stages)
        self.updates = sum(stage.updates for stage in stages)
        resolved = [stage.resolve(base).model_copy(update={"updates": self.updates}) for stage in stages]
        self.legs = [Leg(pool, own, s.name) for s, pool, own in zip(stages, pools, resolved, strict=True)]

    def next_leg(self, rows: Sequence[Row]) -> Leg | None:
        """None if the last stage has ended or a plateau stopped the run. `rows` are those that `mark` has marked."""
        if not rows:
            return self.legs[0]
        index = self._index(rows[-1]["stage"])
        ended = rows[-1]["stage_ended"]
        if ended is None:
            return self.legs[index]
        stops = ended == "plateau" and self.stages[index].on_plateau == "stop"
        return None if stops or index + 1 == len(self.legs) else self.legs[index + 1]

    def mark(self, row: dict[str, Any], leg: Leg, rows: Sequence[Row]) -> None:
        """Add `stage` to a new row, which follows `rows`, and `stage_ended` (the reason) if the stage ends with it."""
        own = [r for r in rows if r["stage"] == leg.stage]
        row["stage"] = leg.stage
        row["stage_ended"] = self.stages[self._index(leg.stage)].ending([*own, row])

    def _index(self, name: str | None) -> int:
        return next(i for i, stage in enumerate(self.stages) if stage.name == name)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
