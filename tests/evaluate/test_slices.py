import math

import pytest

from taosr_she.domain.domain import load_domain
from taosr_she.evaluate.intervals import bootstrap_intervals
from taosr_she.evaluate.metrics import compute_metrics
from taosr_she.evaluate.prediction import Prediction
from taosr_she.evaluate.slices import slice_metrics

DOMAIN = load_domain("taobao")


def pair(i: int, tags: tuple[str, ...]) -> Prediction:
    verdicts = (1.0, float(i % 3 > 0), 1.0, 1.0, 1.0)
    return Prediction(f"p{i}", f"q{i // 3}", "42"[i % 2], "4", verdicts=verdicts, tags=tags)


def test_a_slice_is_measured_as_its_pairs_alone() -> None:
    tagged = [pair(i, ("tail", "tail", "negation") if i < 25 else ("tail",)) for i in range(30)]
    predictions = [*tagged, *(pair(i, ()) for i in range(30, 60)), *(pair(i, ("rare",)) for i in range(60, 79))]
    found = slice_metrics(DOMAIN, predictions)
    assert list(found) == ["negation", "tail"]  # "rare" has 19 pairs
    for tag, members in {"negation": tagged[:25], "tail": tagged}.items():
        metrics = compute_metrics(DOMAIN, members)
        names = ("macro_f1", "accuracy", "steps_all_right", "right_label_wrong_reasoning")
        low, high = bootstrap_intervals(DOMAIN, members)["macro_f1"]
        assert found[tag] == {"n": len(members), **{n: metrics[n] for n in names}, "low": low, "high": high}
        assert found[tag]["low"] < found[tag]["macro_f1"] < found[tag]["high"]
    assert found["tail"]["right_label_wrong_reasoning"] == pytest.approx(5 / 30)
    assert "rare" in slice_metrics(DOMAIN, predictions, min_size=19)


def test_a_slice_of_one_query_has_no_interval() -> None:
    one = slice_metrics(
        DOMAIN, [Prediction(f"p{i}", "q", "4", "4", verdicts=(1.0,) * 5, tags=("t",)) for i in range(20)]
    )
    assert one["t"]["macro_f1"] == 1.0 and math.isnan(one["t"]["low"])
