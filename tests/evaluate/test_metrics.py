import math
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, f1_score, precision_recall_fscore_support
from sklearn.metrics import confusion_matrix as sk_confusion

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.evaluate.metrics import (
    PARTLY,
    compute_metrics,
    confusion_matrix,
    first_error_histogram,
    known_in_part,
    metrics_of_sums,
    pair_columns,
    per_class,
)
from taosr_she.evaluate.prediction import Prediction

DOMAIN = load_domain("taobao")
FIRST = DOMAIN.model_copy(update={"steps": (DOMAIN.steps[-1], *DOMAIN.steps[:-1]), "answer_first": True})
BARE = DOMAIN.model_copy(update={"steps": DOMAIN.steps[-1:]})
CODES, K = DOMAIN.codes, len(DOMAIN.steps)


def predictions_of(steps: int) -> st.SearchStrategy[list[Prediction]]:
    weights = st.lists(st.integers(1, 20), min_size=4, max_size=4)
    verdict = st.sampled_from([0.0, 0.49, 0.5, 1.0, 1.0, 1.0, math.nan])
    one = st.builds(
        Prediction,
        pair_id=st.just("p"), query_id=st.sampled_from("abc"), label=st.sampled_from(CODES),
        predicted=st.none() | st.sampled_from(CODES),
        probs=st.none() | weights.map(lambda w: tuple(x / sum(w) for x in w)),
        verdicts=st.lists(verdict, min_size=steps, max_size=steps).map(tuple),
    )  # fmt: skip
    return st.lists(one, min_size=1, max_size=25)


PREDICTIONS = predictions_of(K)


def answer(
    label: str, predicted: str | None, verdicts: tuple[float, ...] = (math.nan,) * K, **more: object
) -> Prediction:
    return replace(Prediction("p", "q", label, predicted, verdicts=verdicts), **more)  # type: ignore[arg-type]


def share(values: list[bool] | list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def f1(truth: list[bool], predicted: list[bool]) -> float:
    """2PR / (P + R), where P counts predicted ones and R true ones."""
    if not any(truth):
        return math.nan
    hits = sum(t and p for t, p in zip(truth, predicted, strict=True))
    if not hits:
        return 0.0
    precision, recall = hits / sum(predicted), hits / sum(truth)
    return 2 * precision * recall / (precision + recall)


def grades(domain: Domain, p: Prediction) -> tuple[float, float]:
    """The values of the true and of the given grade; malformed: the grade farthest from the true one."""
    value = dict(zip(domain.codes, domain.grade_values, strict=True))
    true = value[str(p.label)]
    # The worst grade first, and only a larger distance is better: of two equally far, the worse.
    farthest = max(reversed(domain.grade_values), key=lambda v: abs(v - true))
    return true, farthest if p.predicted is None else value[p.predicted]


def slow_kappa(domain: Domain, ps: list[Prediction]) -> float:
    """Every true grade against the grade given to the same pair, over every true grade against every given one."""
    both = [grades(domain, p) for p in ps]
    own = sum((true - given) ** 2 for true, given in both) / len(both)
    dealt = sum((true - given) ** 2 for true, _ in both for _, given in both) / len(both) ** 2
    return 1 - own / dealt if dealt and len(domain.labels) > 2 else math.nan


def slow_grade_error(domain: Domain, ps: list[Prediction]) -> float:
    return share([abs(true - given) for true, given in (grades(domain, p) for p in ps)])


def slow_metrics(domain, ps: list[Prediction]) -> dict[str, float]:
    """Every metric word for word from its definition."""
    found: dict[str, float] = {}
    for code in domain.codes:
        found[f"f1_{code}"] = f1([p.label == code for p in ps], [p.predicted == code for p in ps])
    found["macro_f1"] = share([v for v in found.values() if not math.isnan(v)])
    found["accuracy"] = share([p.predicted == p.label for p in ps])
    found["malformed"] = share([p.predicted is None for p in ps])
    good = domain.good_codes
    found["good_f1"] = f1([p.label in good for p in ps], [p.predicted in good for p in ps])
    found["qwk"], found["grade_error"] = slow_kappa(domain, ps), slow_grade_error(domain, ps)
    for k, key in enumerate(domain.step_keys):
        found[f"step_{key}"] = share([p.verdicts[k] >= 0.5 for p in ps if not math.isnan(p.verdicts[k])])
    whole = [p for p in ps if not any(math.isnan(v) for v in p.verdicts)]
    found["steps_all_right"] = share([all(v >= 0.5 for v in p.verdicts) for p in whole])
    right_wrong, wrong_right = [], []
    for p in ps:
        reasoning = [v for k, v in enumerate(p.verdicts) if k != domain.label_step]
        if reasoning and not any(math.isnan(v) for v in reasoning):
            sound = all(v >= 0.5 for v in reasoning)
            right_wrong.append(p.predicted == p.label and not sound)
            wrong_right.append(p.predicted != p.label and sound)
    found["right_label_wrong_reasoning"], found["wrong_label_right_reasoning"] = share(right_wrong), share(wrong_right)
    clean, lucky = [], []
    for p in ps:
        earlier = [v for k, v in enumerate(p.verdicts) if k != domain.label_step and not math.isnan(v)]
        if earlier:
            clean.append(not any(v < 0.5 for v in p.verdicts))
            lucky.append(p.predicted == p.label and any(v < 0.5 for v in earlier))
    found["no_known_error"], found["right_label_known_error"] = share(clean), share(lucky)
    told = [(max(p.probs), domain.codes[p.probs.index(max(p.probs))] == p.label) for p in ps if p.probs]
    error = 0.0
    for i in range(10):
        inside = [t for t in told if i / 10 <= t[0] < (i + 1) / 10 or (i == 9 and t[0] == 1)]
        if inside:
            error += len(inside) / len(told) * abs(share([c for c, _ in inside]) - share([r for _, r in inside]))
    found["ece"] = error if told else math.nan
    return found


@given(PREDICTIONS)
def test_metrics_equal_their_definitions(ps: list[Prediction]) -> None:
    for domain in (DOMAIN, FIRST):
        found, expected = compute_metrics(domain, ps), slow_metrics(domain, ps)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, abs=1e-12, nan_ok=True), name
        assert all(type(v) is float for v in found.values())


@given(predictions_of(1))
def test_without_reasoning_steps_there_is_no_reasoning_to_be_wrong(ps: list[Prediction]) -> None:
    found = compute_metrics(BARE, ps)
    assert found == pytest.approx(slow_metrics(BARE, ps), nan_ok=True)
    assert math.isnan(found["right_label_wrong_reasoning"])


@given(PREDICTIONS)
def test_kappa_equals_scikit_learn(ps: list[Prediction]) -> None:
    """Where nothing is malformed; scikit-learn counts the grades by their place, ours are equally far apart."""
    whole = [p for p in ps if p.predicted is not None]
    if len({p.label for p in whole} | {p.predicted for p in whole}) < 2:
        return
    expected = cohen_kappa_score(
        [CODES.index(str(p.label)) for p in whole], [CODES.index(str(p.predicted)) for p in whole],
        labels=range(len(CODES)), weights="quadratic",
    )  # fmt: skip
    assert compute_metrics(DOMAIN, whole)["qwk"] == pytest.approx(expected, abs=1e-12)


def test_grade_metrics_by_hand() -> None:
    ps = [answer("4", "4"), answer("4", "2"), answer("1", "1"), answer("1", "2")]
    found = compute_metrics(DOMAIN, ps)
    # Squared: 0, 4, 0, 1. By chance 4 against 4, 2, 1, 2 and 1 against the same, twice each: 2 * (0+4+9+4 + 9+1+0+1).
    assert found["qwk"] == pytest.approx(1 - (5 / 4) / (56 / 16))
    assert found["grade_error"] == pytest.approx(3 / 4)


def test_an_answer_of_one_grade_has_no_kappa() -> None:
    assert compute_metrics(DOMAIN, [answer("4", "3"), answer("1", "3"), answer("2", "3")])["qwk"] == 0


def test_who_does_not_answer_is_as_wrong_as_can_be() -> None:
    found = compute_metrics(DOMAIN, [answer("4", None), answer("3", None), answer("1", None)])
    assert found["grade_error"] == pytest.approx((3 + 2 + 3) / 3) and found["qwk"] < 0
    # From the middle of three grades both ends are equally far: it counts as the worse one, "Irrelevant".
    wands = load_domain("wands")
    middle = Prediction("p", "q", wands.codes[1], None, verdicts=(math.nan,) * len(wands.steps))
    best = replace(middle, label=wands.codes[0], predicted=wands.codes[0])
    alike = [replace(middle, predicted=wands.codes[2]), best]
    assert compute_metrics(wands, [middle, best])["qwk"] == pytest.approx(compute_metrics(wands, alike)["qwk"])


def test_two_grades_are_no_scale() -> None:
    two = DOMAIN.model_copy(update={"labels": DOMAIN.labels[:2], "rules": ()})
    found = compute_metrics(two, [answer("4", "3"), answer("3", "3")])
    assert math.isnan(found["qwk"]) and math.isnan(found["grade_error"])


@given(PREDICTIONS)
def test_classes_equal_scikit_learn(ps: list[Prediction]) -> None:
    truth, predicted = [str(p.label) for p in ps], [p.predicted or "malformed" for p in ps]
    np.testing.assert_array_equal(
        confusion_matrix(DOMAIN, ps), sk_confusion(truth, predicted, labels=[*CODES, "malformed"])[:-1]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = precision_recall_fscore_support(truth, predicted, labels=list(CODES), zero_division=np.nan)
        present = [c for c in CODES if c in truth]
        macro = f1_score(truth, predicted, labels=present, average="macro", zero_division=0)
    for code, precision, recall, score, support in zip(CODES, *reference, strict=True):
        found = per_class(DOMAIN, ps)[code]
        assert found["support"] == support
        assert found["precision"] == pytest.approx(precision, nan_ok=True)
        assert found["recall"] == pytest.approx(recall, nan_ok=True)
        assert found["f1"] == (pytest.approx(score) if support else pytest.approx(math.nan, nan_ok=True))
    assert compute_metrics(DOMAIN, ps)["macro_f1"] == pytest.approx(macro)


@given(PREDICTIONS, st.data())
def test_weights_mean_repeated_pairs(ps: list[Prediction], data: st.DataObject) -> None:
    weights = np.array(data.draw(st.lists(st.lists(st.integers(0, 3), min_size=len(ps), max_size=len(ps)), min_size=2)))
    weights[:, 0] += 1
    sums = {name: weights @ column for name, column in pair_columns(DOMAIN, ps).items()}
    found = metrics_of_sums(DOMAIN, sums)
    for r, row in enumerate(weights):
        repeated = compute_metrics(DOMAIN, [p for p, w in zip(ps, row, strict=True) for _ in range(w)])
        assert {k: v[r] for k, v in found.items()} == pytest.approx(repeated, nan_ok=True)


@given(PREDICTIONS)
def test_first_errors_of_wholly_known_responses(ps: list[Prediction]) -> None:
    expected = dict.fromkeys([*DOMAIN.step_keys, "none"], 0)
    for p in ps:
        if not any(math.isnan(v) for v in p.verdicts):
            first = next((key for key, v in zip(DOMAIN.step_keys, p.verdicts, strict=True) if v < 0.5), "none")
            expected[first] += 1
    assert first_error_histogram(DOMAIN, ps) == (expected if any(expected.values()) else {})


def test_malformed_lowers_recall_never_precision() -> None:
    right = [answer("4", "4"), answer("2", "2")]
    before, after = per_class(DOMAIN, right), per_class(DOMAIN, [*right, answer("4", None, reason="no label")])
    assert after["4"]["recall"] == 0.5 and after["4"]["precision"] == 1.0
    assert after["2"] == before["2"]
    found = compute_metrics(DOMAIN, [*right, answer("4", None)])
    assert found["malformed"] == pytest.approx(1 / 3) and found["accuracy"] == pytest.approx(2 / 3)
    assert found["good_f1"] == pytest.approx(2 / 3)


def test_undefined_is_nan() -> None:
    found = compute_metrics(DOMAIN, [answer("2", "4")])
    undefined = {name for name, value in found.items() if math.isnan(value)}
    assert undefined == {
        "good_f1", "f1_4", "f1_3", "f1_1", "ece", "steps_all_right", "right_label_wrong_reasoning",
        "wrong_label_right_reasoning", *PARTLY, *(f"step_{key}" for key in DOMAIN.step_keys),
    }  # fmt: skip
    assert found["macro_f1"] == found["f1_2"] == 0.0


def test_reasoning_does_not_include_the_label_step() -> None:
    sound_but_wrong = answer("4", "3", (1, 1, 1, 1, 0))
    lucky = answer("4", "4", (1, 0, 1, 1, 1))
    unseen = answer("4", "4", (0, math.nan, 1, 1, 1))
    found = compute_metrics(DOMAIN, [sound_but_wrong, lucky, unseen])
    assert found["wrong_label_right_reasoning"] == found["right_label_wrong_reasoning"] == 0.5
    assert found["steps_all_right"] == 0.0 and found["step_query"] == pytest.approx(2 / 3)
    # Here the pair with an unknown step counts as well.
    assert found["right_label_known_error"] == pytest.approx(2 / 3) and found["no_known_error"] == 0.0


def test_pairs_that_are_known_in_part() -> None:
    unknown = answer("4", "4", (math.nan, math.nan, math.nan, math.nan, 1))
    clean, lucky = answer("4", "4", (1, math.nan, 1, 1, 1)), answer("4", "4", (0, math.nan, 1, 1, 1))
    found = compute_metrics(DOMAIN, [unknown, clean, lucky])
    assert found["no_known_error"] == found["right_label_known_error"] == 0.5
    assert math.isnan(found["steps_all_right"]) and math.isnan(found["right_label_wrong_reasoning"])
    assert known_in_part(DOMAIN, [unknown, clean])
    whole = [answer("4", "4", (1, 1, 1, 1, 1)), answer("4", "4", (0, 1, 1, 1, 1)), unknown]
    assert not known_in_part(DOMAIN, whole)  # nothing is known of the last one's reasoning, so no metric counts it
    found = compute_metrics(DOMAIN, whole)
    assert found["no_known_error"] == found["steps_all_right"] == 0.5
    assert found["right_label_known_error"] == found["right_label_wrong_reasoning"] == 0.5


def test_calibration_of_a_calibrated_and_an_overconfident_model() -> None:
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(4), 4000)
    labels = [CODES[rng.choice(4, p=row)] for row in probs]
    honest = [answer(label, CODES[0], probs=tuple(row)) for label, row in zip(labels, probs.tolist(), strict=True)]
    assert compute_metrics(DOMAIN, honest)["ece"] < 0.03
    sure = [answer(label, "4", probs=(1.0, 0.0, 0.0, 0.0)) for label in ["4"] * 3 + ["1"] * 7]
    assert compute_metrics(DOMAIN, sure)["ece"] == pytest.approx(0.7)
    assert compute_metrics(DOMAIN, [*sure, answer("1", "4")])["ece"] == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": None}, "no human label"),
        ({"label": "E"}, "grade 'E' is not on the label scale"),
        ({"predicted": "5"}, "grade '5' is not on the label scale"),
        ({"probs": (0.5, 0.5)}, "2 probabilities"),
        ({"verdicts": (1.0,)}, "1 verdicts for the 5 steps"),
    ],
)
def test_predictions_of_another_domain_are_refused(change: dict, message: str) -> None:
    with pytest.raises(UserError, match=f"pair 'p': .*{message}"):
        compute_metrics(DOMAIN, [answer("4", "4"), replace(answer("4", "4"), **change)])


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(UserError, match="no predictions"):
        compute_metrics(DOMAIN, [])


def test_imports_stay_light() -> None:
    code = (
        "import sys; import taosr_she.evaluate.slices, taosr_she.evaluate.baselines;"
        "print([m for m in ('torch', 'sklearn', 'scipy', 'pandas') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
