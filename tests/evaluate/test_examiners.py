"""Metrics of judging against a reference written with loops, and the controls."""

import math

import numpy as np
import pytest

from taosr_she.base.errors import UserError
from taosr_she.evaluate.examiners import (
    always_correct,
    examiner_differences,
    examiner_intervals,
    examiner_metrics,
    fit_scalar_control,
    processbench_f1,
    reliability,
    scalar_control,
)

KEYS = ("query", "product", "label")
NAN = math.nan


def examined(n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Truth and values (n, 3), a tenth of each unknown; values lean towards the truth."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((n, 3)) < 0.7).astype(float)
    values = np.clip(truth * 0.4 + rng.random((n, 3)) * 0.7, 0, 1)
    truth[rng.random(truth.shape) < 0.1] = NAN
    values[rng.random(truth.shape) < 0.1] = NAN
    return truth, values


def loop_metrics(truth: np.ndarray, values: np.ndarray) -> dict[str, float]:
    hits: dict[str, list[bool]] = {key: [] for key in KEYS}
    bins: dict[int, list[float]] = {}
    flawed, clean = [], []
    for t_row, v_row in zip(truth.tolist(), values.tolist(), strict=True):
        for key, t, v in zip(KEYS, t_row, v_row, strict=True):
            if not (math.isnan(t) or math.isnan(v)):
                hits[key].append((t == 1) == (v >= 0.5))
                bins.setdefault(min(int(v * 10), 9), []).append(v - t)
        if any(map(math.isnan, t_row + v_row)):
            continue
        truth_first = next((k for k, t in enumerate(t_row) if t == 0), None)
        said_first = next((k for k, v in enumerate(v_row) if v < 0.5), None)
        (clean if truth_first is None else flawed).append(truth_first == said_first)
    every = [hit for key in KEYS for hit in hits[key]]
    a, b = sum(flawed) / len(flawed), sum(clean) / len(clean)
    return {
        "first_error_f1": 2 * a * b / (a + b), "first_error_flawed": a, "first_error_clean": b,
        "accuracy": sum(every) / len(every), **{f"accuracy_{k}": sum(h) / len(h) for k, h in hits.items()},
        "ece": sum(abs(sum(gaps)) for gaps in bins.values()) / len(every),
        "known": len(every) / int((~np.isnan(truth)).sum()),
    }  # fmt: skip


def test_published_rows_of_processbench() -> None:
    """Its table 3, GSM8K: accuracy on erroneous and on correct samples, and the F1 printed beside them."""
    published = {
        "Skywork-PRM-1.5B": (50.2, 71.5, 59.0), "GPT-4o-0806": (70.0, 91.2, 79.2),
        "Qwen2.5-7B-Instruct": (40.6, 33.2, 36.5), "Qwen2.5-Math-7B-Instruct": (15.5, 100.0, 26.8),
    }  # fmt: skip
    for model, (error, correct, f1) in published.items():
        assert round(float(processbench_f1(error, correct)), 1) == f1, model
    # The same through verdicts: 207 erroneous and 193 correct samples, as GSM8K has, with GPT-4o's accuracies.
    truth, values = np.ones((400, 3)), np.ones((400, 3))
    truth[:207, 1] = 0
    values[:145, 1] = 0  # 145 of 207: 70.0
    values[207:224, 2] = 0  # 176 of 193 pass: 91.2
    assert round(100 * examiner_metrics(KEYS, truth, values)["first_error_f1"], 1) == 79.2


def test_differences_are_paired_over_pairs() -> None:
    truth, values = examined()
    worse = np.where(np.random.default_rng(1).random(values.shape) < 0.3, 1 - values, values)
    pairs = [f"p{n // 2}" for n in range(len(truth))]
    found = examiner_differences(KEYS, truth, worse, values, pairs, 400)
    of_both = [examiner_metrics(KEYS, truth, v) for v in (worse, values)]
    for name, (difference, low, high) in found.items():
        assert difference == pytest.approx(of_both[1][name] - of_both[0][name])
        assert low <= difference <= high, name
    assert found["accuracy"][1] > 0
    same = examiner_differences(KEYS, truth, values, values, pairs, 50)
    assert all(row == (0.0, 0.0, 0.0) for row in same.values())
    alone = examiner_differences(KEYS, truth, worse, values, ["p"] * len(truth), 50)
    assert all(math.isnan(low) and math.isnan(high) for _, low, high in alone.values())


def test_metrics_equal_loops() -> None:
    truth, values = examined()
    assert examiner_metrics(KEYS, truth, values) == pytest.approx(loop_metrics(truth, values))


def test_perfect_and_undefined() -> None:
    truth = np.array([[1.0, 0, 1], [1, 1, 1]])
    perfect = examiner_metrics(KEYS, truth, truth)
    assert (perfect["first_error_f1"], perfect["accuracy"], perfect["ece"]) == (1, 1, 0)
    # The right verdict on one error, but an earlier step blamed as well: that is not the first error.
    blamed = examiner_metrics(KEYS, truth, np.array([[0.0, 0, 1], [1, 1, 1]]))
    assert (blamed["first_error_flawed"], blamed["first_error_f1"]) == (0, 0)
    only_clean = examiner_metrics(KEYS, truth[1:], truth[1:])
    assert math.isnan(only_clean["first_error_f1"]) and only_clean["first_error_clean"] == 1
    unknown = examiner_metrics(KEYS, truth, np.full_like(truth, NAN))
    assert unknown["known"] == 0 and math.isnan(unknown["accuracy"])


def test_intervals_resample_pairs() -> None:
    truth, values = examined(120)
    pairs = [f"p{i // 3}" for i in range(120)]
    point, intervals = examiner_metrics(KEYS, truth, values), examiner_intervals(KEYS, truth, values, pairs)
    assert intervals == examiner_intervals(KEYS, truth, values, pairs)
    for name in ("first_error_f1", "accuracy", "accuracy_label"):
        low, high = intervals[name]
        assert low < point[name] < high
    # Copies of the same responses are no new evidence: pairs, not responses, are drawn.
    doubled = examiner_intervals(KEYS, np.tile(truth, (2, 1)), np.tile(values, (2, 1)), pairs * 2)
    assert doubled["accuracy"] == pytest.approx(intervals["accuracy"])
    assert all(map(math.isnan, examiner_intervals(KEYS, truth, values, ["p"] * 120)["accuracy"]))


def test_reliability_bins_hold_every_known_step_and_give_the_ece() -> None:
    truth, values = examined()
    bins = reliability(truth, values)
    count = sum(b["count"] for b in bins)
    assert count == (~np.isnan(truth) & ~np.isnan(values)).sum()
    ece = sum(b["count"] * abs(b["value"] - b["right"]) for b in bins) / count
    assert ece == pytest.approx(examiner_metrics(KEYS, truth, values)["ece"])
    assert all(b["low"] <= b["value"] <= b["high"] for b in bins)


def test_controls() -> None:
    truth = np.array([[1.0, 1, 1], [1, 0, 1], [1, 0, 0], [0, 1, 1], [1, 1, 1]])
    always = examiner_metrics(KEYS, truth, always_correct(truth))
    assert (always["first_error_clean"], always["first_error_flawed"], always["first_error_f1"]) == (1, 0, 0)
    scores = np.array([0.9, 0.2, 0.3, 0.1, 0.8])
    threshold, step = fit_scalar_control(KEYS, scores, truth)
    assert 0.3 < threshold <= 0.8 and KEYS[step] == "product"  # two of three first errors are there
    control = examiner_metrics(KEYS, truth, scalar_control(scores, threshold, step, 3))
    assert control["first_error_flawed"] == pytest.approx(2 / 3) and control["first_error_clean"] == 1
    with pytest.raises(UserError, match="with and without errors"):
        fit_scalar_control(KEYS, scores, np.ones((5, 3)))


def test_the_interval_of_a_calibrated_judge_holds_its_calibration_error() -> None:
    """P(correct) 0.8 everywhere, and 80 of 100 right: any resample has a larger error."""
    truth = np.tile((np.arange(100) < 80).astype(float)[:, None], (1, 3))
    values = np.full((100, 3), 0.8)
    assert examiner_metrics(KEYS, truth, values)["ece"] == pytest.approx(0)
    low, high = examiner_intervals(KEYS, truth, values, [f"p{i}" for i in range(100)])["ece"]
    assert low == 0 and 0.02 < high < 0.15
