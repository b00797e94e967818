"""The table's numbers, its best marks, and the comparisons in words."""

from typing import Any

from taosr_she.report.models import model_cards, slice_rows
from taosr_she.report.names import Names, signed
from taosr_she.report.scores import comparisons, score_groups

NAMES = Names(grades={"4": "Excellent", "1": "Irrelevant"}, steps={"query": "Query understanding"})


def results(models: dict[str, dict[str, Any]], **more: Any) -> dict[str, Any]:
    models = {name: {"intervals": {}, **model} for name, model in models.items()}
    return {"models": models, "codes": ["4", "1"], "step_keys": ["query"], **more}


def rows(content: dict[str, Any]) -> dict[str, list[tuple[str, str, bool]]]:
    found = [row for _, group in score_groups(content, NAMES) for row in group]
    return {row.key: [(c.text, c.interval, c.best) for c in row.cells] for row in found}


def test_best_follows_the_direction_and_ties_share_it() -> None:
    a = {"macro_f1": 0.8614, "accuracy": 0.9, "ece": 0.05, "step_query": 0.7, "malformed": 0.02, "mean_tokens": 40.0}
    b = {"macro_f1": 0.8611, "accuracy": 0.8, "ece": 0.02, "step_query": 0.7, "malformed": 0.01, "mean_tokens": 50.0}
    c = {"macro_f1": 0.7, "accuracy": None, "ece": float("nan"), "malformed": 0.0}
    table = rows(
        results(
            {"a": {"metrics": a, "intervals": {"macro_f1": [0.84, 0.88]}}, "b": {"metrics": b}, "c": {"metrics": c}}
        )
    )
    assert table["macro_f1"] == [("86.1", "[84.0, 88.0]", True), ("86.1", "", True), ("70.0", "", False)]
    assert table["accuracy"] == [("90.0", "", True), ("80.0", "", False), ("–", "", False)]
    assert [best for *_, best in table["ece"]] == [False, True, False]
    assert [best for *_, best in table["malformed"]] == [False, True, False], "who writes no response earns no star"
    assert not any(best for key in ("step_query", "mean_tokens") for *_, best in table[key])
    assert "good_f1" not in table


def test_grades_are_no_shares_and_people_stand_beside_the_models_without_a_star() -> None:
    a = {"accuracy": 0.8, "qwk": 0.714, "grade_error": 0.331, "label_entropy": 1.204}
    b = {"accuracy": 0.7, "qwk": 0.5, "grade_error": 0.4, "label_entropy": 0.3}
    people = {
        "person_person": {
            "metrics": {"accuracy": 0.9, "qwk": 0.751, "good_f1": float("nan")},
            "intervals": {"qwk": [0.7, 0.8]}, "pairs": 2459, "people": 3,
        }
    }  # fmt: skip
    table = rows(results({"a": {"metrics": a}, "b": {"metrics": b}}, people=people))
    assert table["qwk"] == [("0.71", "", True), ("0.50", "", False), ("0.75", "[0.70, 0.80]", False)]
    assert table["accuracy"][0] == ("80.0", "", True) and table["accuracy"][2] == ("90.0", "", False)
    assert table["grade_error"] == [("0.33", "", True), ("0.40", "", False), ("–", "", False)]
    assert table["label_entropy"] == [("1.20", "", False), ("0.30", "", False), ("–", "", False)]
    assert "good_f1" not in table
    content = results({"a": {"metrics": a}}, labels_true={"shares": {"4": 0.5, "1": 0.5}, "entropy": 0.6931})
    hints = {row.key: row.hint for _, group in score_groups(content, NAMES) for row in group}
    assert hints["label_entropy"] == "in nats; 0.69 for the true ones" and hints["accuracy"] == ""


def test_disturbed_pairs_have_a_row_for_each_probe() -> None:
    typos = {"macro_f1": 0.612, "clean": 0.7, "changed": 0.214, "pairs": 50}
    table = rows(results({"a": {"metrics": {}, "robustness": {"word_order": typos}}, "b": {"metrics": {}}}))
    assert table["word_order"] == [("61.2", "−8.8; 21% turned", False), ("–", "", False)]
    assert rows(results({"b": {"metrics": {}}})) == {}


def test_differences_in_words() -> None:
    def row(a: str, b: str, metric: str, d: float | None, low: float | None, high: float | None, p: float) -> dict:
        return {"a": a, "b": b, "metric": metric, "difference": d, "low": low, "high": high, "p": p}

    found = comparisons(
        results({}, paired=[
            row("grpo", "srpo", "macro_f1", 0.051, 0.03, 0.072, 0.0004),
            row("grpo", "srpo", "right_label_wrong_reasoning", -0.09, -0.11, -0.07, 0.004),
            row("grpo", "srpo", "ece", None, None, None, 1.0),
            row("sft", "grpo", "macro_f1", -0.004, -0.02, 0.013, 0.62),
            row("sft", "grpo", "step_query", -0.2, -0.3, -0.1, 0.03),
            row("sft", "grpo", "grade_error", -0.21, -0.31, -0.1, 0.03),
        ]), NAMES,
    )  # fmt: skip
    assert found.titles == ["SRPO − GRPO", "GRPO − SFT"]
    cells = {
        name: [d and (d.text, d.interval, d.p, d.verdict) for d in differences] for _, name, differences in found.rows
    }
    order = ["macro_f1", "right_label_wrong_reasoning", "ece", "step_query", "grade_error"]
    assert [key for key, *_ in found.rows] == order
    assert cells == {
        "Macro-F1": [
            ("+5.1", "[+3.0, +7.2]", "p < 0.001", "better"),
            ("−0.4", "[−2.0, +1.3]", "p = 0.62", "no clear difference"),
        ],
        "Right label, wrong reasoning": [("−9.0", "[−11.0, −7.0]", "p = 0.004", "better"), None],
        "ECE of the label distribution": [None, None],
        "Step: Query understanding": [None, ("−20.0", "[−30.0, −10.0]", "p = 0.030", "worse")],
        "Mean grade error": [None, ("−0.21", "[−0.31, −0.10]", "p = 0.030", "better")],
    }
    assert comparisons(results({}), NAMES).rows == []


def test_cards_show_the_malformed_column_only_where_there_are_some() -> None:
    model = {"metrics": {}, "confusion": [[3, 1, 0], [0, 4, 0]], "first_error": {"query": 1, "none": 3}}
    (clean,) = model_cards(results({"a": model}), NAMES)
    (dirty,) = model_cards(results({"a": {**model, "confusion": [[3, 0, 1], [0, 4, 0]]}}), NAMES)
    assert clean.predicted == ["4", "1"] and dirty.predicted == ["4", "1", "malformed"]
    assert [(c.count, c.share, c.diagonal) for c in clean.matrix[0][1]] == [(3, 75.0, True), (1, 25.0, False)]
    assert [(b.name, b.share) for b in clean.first_errors] == [("Query understanding", 25.0), ("All right", 75.0)]


def test_cards_show_the_labels_given_beside_the_true_ones() -> None:
    (card,) = model_cards(results({"a": {"metrics": {}, "confusion": [[3, 0, 1], [3, 1, 0]]}}), NAMES)
    expected = [("4 Excellent", "85.7", "50.0"), ("1 Irrelevant", "14.3", "50.0")]
    assert card.labels == expected, "the malformed response gives no label"
    assert model_cards(results({"a": {"metrics": {}}}), NAMES)[0].labels == []


def test_slices_largest_first_with_holes() -> None:
    a = {"metrics": {}, "slices": {"x": {"n": 12, "macro_f1": 0.5, "low": 0.4, "high": 0.6}}}
    b = {"metrics": {}, "slices": {"y": {"n": 80, "macro_f1": None, "low": None, "high": None}}}
    found = slice_rows(results({"a": a, "b": b}))
    assert [(row.tag, row.n, row.few, [c.value for c in row.cells]) for row in found] == [
        ("y", 80, False, [None, None]),
        ("x", 12, True, [50.0, None]),
    ]


def test_signed() -> None:
    assert [signed(v) for v in (5.12, -0.3, 0.04, -0.04)] == ["+5.1", "−0.3", "0.0", "0.0"]
