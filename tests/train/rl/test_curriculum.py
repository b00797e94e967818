"""Stages of training: when they end, what they train with, and that rows alone say where a run stands."""

from typing import Any

import pytest
from pydantic import ValidationError

from taosr_she.domain.pair import Pair, Product
from taosr_she.train.rl.curriculum import Curriculum, CurriculumStage
from taosr_she.train.rl.settings import StepCreditSettings

POOLS = [[Pair(f"{name}{i}", f"q{i}", "boots", Product("boots"), "4") for i in range(3)] for name in "abc"]


def stages(**last: Any) -> list[CurriculumStage]:
    return [
        CurriculumStage(name="a", updates=4, reaches=0.8, window=2),
        CurriculumStage(name="b", updates=6, plateau=0.05, window=2, settings={"credit": {"step_weight": 0.5}}),
        CurriculumStage.model_validate(
            {"name": "c", "updates": 3, "settings": {"sampling": {"temperature": 1.5}}, **last}
        ),
    ]


def walk(curriculum: Curriculum, rewards: list[float]) -> list[dict[str, Any]]:
    """The rows of a run with these rewards, as the loop makes them."""
    rows: list[dict[str, Any]] = []
    for reward in rewards:
        leg = curriculum.next_leg(rows)
        if leg is None:
            break
        row: dict[str, Any] = {"step": len(rows) + 1, "reward": reward}
        curriculum.mark(row, leg, rows)
        rows.append(row)
    return rows


def test_stages_end_when_reached_on_a_plateau_or_with_their_budget() -> None:
    rewards = [0.5, 0.9, 0.9, 0.1, 0.2, 0.4, 0.6, 0.61, 0.6, 0.2, 0.2, 0.2, 0.9, 0.9]
    rows = walk(Curriculum(stages(), StepCreditSettings(), POOLS), rewards)
    # a: the mean of the last two is 0.7, then 0.9; b: 0.15 to 0.5, 0.3 to 0.605, 0.5 to 0.605, then 0.6 to 0.4
    ends = [(row["step"], row["stage"], row["stage_ended"]) for row in rows if row["stage_ended"]]
    assert ends == [(3, "a", "reached"), (9, "b", "budget"), (12, "c", "budget")]
    flat = walk(Curriculum(stages(), StepCreditSettings(), POOLS), [0.9] * 20)
    assert [(r["step"], r["stage_ended"]) for r in flat if r["stage_ended"]] == [
        (2, "reached"), (6, "plateau"), (9, "budget"),
    ]  # fmt: skip


def test_a_plateau_may_stop_the_run() -> None:
    stops = [stages()[1].model_copy(update={"on_plateau": "stop"}), stages()[2]]
    rows = walk(Curriculum(stops, StepCreditSettings(), POOLS[1:]), [0.9] * 20)
    assert len(rows) == 4 and rows[-1]["stage_ended"] == "plateau"


def test_a_run_taken_up_at_any_row_goes_on_the_same() -> None:
    rewards = [0.5, 0.9, 0.9, 0.1, 0.2, 0.4, 0.6, 0.61, 0.6, 0.2, 0.2, 0.2]
    whole = Curriculum(stages(), StepCreditSettings(), POOLS)
    rows = walk(whole, rewards)
    for n in range(len(rows) + 1):
        fresh, again = Curriculum(stages(), StepCreditSettings(), POOLS), rows[:n]
        expected = rows[n]["stage"] if n < len(rows) else None
        leg = fresh.next_leg(again)
        assert (leg.stage if leg else None) == expected


def test_each_stage_has_its_pairs_and_settings() -> None:
    base = StepCreditSettings(updates=99, learning_rate=3e-4)
    legs = Curriculum(stages(), base, POOLS).legs
    assert [leg.pairs for leg in legs] == POOLS
    assert [leg.settings.credit.step_weight for leg in legs] == [1.0, 0.5, 1.0]
    assert [leg.settings.sampling.temperature for leg in legs] == [1.0, 1.0, 1.5]
    assert {leg.settings.updates for leg in legs} == {13} and {leg.settings.learning_rate for leg in legs} == {3e-4}


@pytest.mark.parametrize(
    "wrong",
    [{"settings": {"updates": 3}}, {"pass_low": 0.9, "pass_high": 0.1}, {"updates": 0}, {"name": ""}, {"reach": 1}],
)
def test_stages_that_cannot_be_meant_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        stages(**wrong)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValidationError, match="step_wait"):
        CurriculumStage(name="x", updates=1, settings={"credit": {"step_wait": 1}}).resolve(StepCreditSettings())
