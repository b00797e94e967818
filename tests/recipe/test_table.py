"""The terminal's tables: readable at any width, and nothing in them is markup."""

import io
import re
from typing import Any

import pytest

from taosr_she.base.terminal import Terminal
from taosr_she.recipe.seeds import seeds_table
from taosr_she.recipe.table import results_table

NAMES = ["majority", "tfidf", "sft", "grpo", "[red]srpo[/red] with a name that is longer than any column \x1b[2J"]
METRICS = ("macro_f1", "step_query", "right_label_wrong_reasoning", "ece")


def results(models: list[str]) -> dict[str, Any]:
    content = {}
    for i, name in enumerate(models):
        metrics = {metric: 0.1 * i + 0.01 * k for k, metric in enumerate(METRICS)}
        intervals = {metric: [value - 0.051, value + 0.052] for metric, value in metrics.items()}
        content[name] = {"metrics": metrics | {"tokens_per_second": 11_000.0 + i}, "intervals": intervals}
    return {"models": content, "step_keys": ["query"], "split": "test", "pairs": 800}


def printed(what: Any, width: int) -> str:
    out = io.StringIO()
    Terminal(file=out, width=width).print(what)
    return out.getvalue()


def cells(text: str) -> list[str]:
    """Everything that is a number with its interval, however the table was split."""
    return sorted(re.findall(r"-?\d+\.\d \[-?\d+\.\d, -?\d+\.\d\]", text))


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140, 200])
def test_at_any_width_every_number_is_whole_and_no_line_too_long(width: int) -> None:
    text = printed(results_table(results(NAMES)), width)
    assert max(map(len, text.splitlines())) <= width
    assert len(cells(text)) == len(NAMES) * len(METRICS)
    assert cells(text) == cells(printed(results_table(results(NAMES)), 300))
    assert all(f"{11_000 + i:,}" in text for i in range(len(NAMES)))


def test_eighty_columns_hold_three_models_and_the_title_says_which_part_it_is() -> None:
    text = printed(results_table(results(NAMES)), 80)
    assert "(1 of 2)" in text and "(2 of 2)" in text and text.count("macro-F1") == 2
    assert "1 of" not in printed(results_table(results(NAMES[:3])), 80)


def test_people_stand_beside_the_models_and_grades_are_no_shares() -> None:
    content = results(["sft"])
    content["models"]["sft"]["metrics"] |= {"qwk": 0.5, "grade_error": 0.4}
    people = {"metrics": {"macro_f1": 0.4665, "qwk": 0.7506}, "intervals": {"qwk": [0.6784, 0.8043]}}
    text = printed(results_table(content | {"people": {"person_person": people}}), 200)
    assert "person against" in text and "0.75 [0.68, 0.80]" in text and "46.7" in text
    assert "QWK" in text and "0.40" in text and "person" not in printed(results_table(content), 200)


def test_names_of_models_are_text() -> None:
    text = printed(results_table(results(NAMES)), 200)
    assert "[red]srpo" in text and "\x1b" not in text and r"\x1b" in text.replace(" ", "")


def test_the_table_over_seeds_fits_too() -> None:
    one = {"mean": 0.5, "low": 0.4, "high": 0.6, "values": [0.4, 0.6]}
    summary = {"step_keys": ["query"], "models": {name: {"macro_f1": one, "ece": one} for name in NAMES}}
    text = printed(seeds_table(summary, [1, 2]), 80)
    assert max(map(len, text.splitlines())) <= 80 and len(cells(text)) == 2 * len(NAMES)
