"""The table that ends a run, for the terminal."""

import math
from collections.abc import Sequence
from typing import Any

from rich.table import Table

PERCENT = 100.0
_NAMES = {
    "macro_f1": "macro-F1", "good_f1": "Good F1", "accuracy": "accuracy", "steps_all_right": "all steps right",
    "right_label_wrong_reasoning": "right label, wrong reasoning", "malformed": "malformed", "ece": "ECE",
}  # fmt: skip


def results_table(results: dict[str, Any]) -> Table:
    """Models as columns; shares in percent with their bootstrap interval."""
    models = results["models"]
    title = f"{results['split']} split, {results['pairs']} pairs, 95% intervals over queries"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in models:
        table.add_column(name, justify="right")
    for metric in table_metrics(results["step_keys"]):
        if all(_missing(m["metrics"].get(metric)) for m in models.values()):
            continue
        table.add_row(metric_name(metric), *(_cell(m, metric) for m in models.values()))
    for what, metric in (("training", "training_tokens_per_second"), ("evaluation", "tokens_per_second")):
        speeds = [m["metrics"].get(metric) for m in models.values()]
        if any(speeds):
            table.add_row(f"tokens/s ({what})", *("–" if s is None else f"{s:,.0f}" for s in speeds))
    return table


def table_metrics(step_keys: Sequence[str]) -> list[str]:
    """Metrics of the table, in order."""
    steps = [f"step_{key}" for key in step_keys]
    return ["macro_f1", "good_f1", "accuracy", *steps, *list(_NAMES)[3:]]


def metric_name(metric: str) -> str:
    """A metric's name for people."""
    return _NAMES.get(metric) or f"step: {metric.removeprefix('step_')}"


def _missing(value: float | None) -> bool:
    return value is None or math.isnan(value)


def _cell(model: dict[str, Any], metric: str) -> str:
    value = model["metrics"].get(metric)
    if _missing(value):
        return "–"
    low, high = model["intervals"].get(metric, (None, None))
    shown = f"{value * PERCENT:.1f}"
    return shown if _missing(low) or _missing(high) else f"{shown} [{low * PERCENT:.1f}, {high * PERCENT:.1f}]"
