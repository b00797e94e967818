import math

import pytest

from taosr_she.domain.domain import load_domain
from taosr_she.evaluate.metrics import PARTLY
from taosr_she.evaluate.prediction import Prediction
from taosr_she.evaluate.results import comparisons, model_results

DOMAIN = load_domain("taobao")
K = len(DOMAIN.steps)


def judged(first: float, second: float) -> list[Prediction]:
    """Ten answers with the right label; `first` is the verdict on their first step, `second` on their second one."""
    verdicts = (first, second, *(1.0,) * (K - 2))
    return [Prediction(f"p{i}", f"q{i}", "4", "4", verdicts=verdicts) for i in range(10)]


def test_metrics_of_pairs_known_in_part_are_there_where_they_add_something() -> None:
    whole, in_part = judged(0.0, 1.0), judged(0.0, math.nan)
    for key in ("metrics", "intervals"):
        assert not set(PARTLY) & model_results(DOMAIN, whole, 20, 0)[key].keys()
    found = model_results(DOMAIN, in_part, 20, 0)
    assert found["metrics"]["right_label_known_error"] == 1.0 and found["metrics"]["no_known_error"] == 0.0
    assert found["intervals"]["right_label_known_error"] == [1.0, 1.0]


def test_metrics_of_pairs_known_in_part_are_compared() -> None:
    answers = {"lucky": judged(0.0, math.nan), "sound": judged(1.0, math.nan)}
    rows = {row["metric"]: row for row in comparisons(DOMAIN, answers, [("lucky", "sound")], 20, 0)}
    assert rows["no_known_error"]["difference"] == pytest.approx(1.0)
    assert rows["right_label_known_error"]["difference"] == pytest.approx(-1.0)
    assert "steps_all_right" not in rows
    answers = {"lucky": judged(0.0, 1.0), "sound": judged(1.0, 1.0)}
    rows = {row["metric"]: row for row in comparisons(DOMAIN, answers, [("lucky", "sound")], 20, 0)}
    assert "steps_all_right" in rows and not set(PARTLY) & rows.keys()
