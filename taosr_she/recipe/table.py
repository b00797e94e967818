"""The table that ends a run, for the terminal, however narrow that is."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.table import Table

from taosr_she.base.escape import one_line
from taosr_she.evaluate.metrics import PLAIN
from taosr_she.evaluate.people import ROWS

PERCENT = 100.0
_NAMES = {
    "macro_f1": "macro-F1", "good_f1": "Good F1", "accuracy": "accuracy", "qwk": "QWK", "grade_error": "grade error",
    "tier_macro_f1": "tier macro-F1",
    "steps_all_right": "all steps right",
    "right_label_wrong_reasoning": "right label, wrong reasoning",
    "no_known_error": "no known error", "right_label_known_error": "right label, known error",
    "malformed": "malformed", "ece": "ECE",
}  # fmt: skip


@dataclass(frozen=True)
class ModelTable:
    """A row a metric and a column a model, for `console.print`.

    Where the terminal is too narrow for all models the table is split: some models in each part, every metric in all of
    them. A number is never cut or wrapped; names of metrics and models are.
    """

    title: str
    models: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]  # (metric, a cell a model)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        cell = max([MIN_CELL, *(cell_len(text) for _, cells in self.rows for text in cells)])
        head = max([cell_len(name) for name, _ in self.rows], default=0)
        count = len(self.models)

        def fitting(first: int) -> int:
            return max(1, (options.max_width - _width(first)) // (cell + BORDER))

        if fitting(head) < count:  # wrapping the names of the metrics may make room for a model more
            head = min(head, HEAD, max(1, options.max_width - _width(0) - cell - BORDER))
        parts = -(-count // fitting(head))
        size = -(-count // parts) if parts else 0
        for start in range(0, count, size or 1):
            shown = self.models[start : start + size]
            title = f"{self.title} ({start // size + 1} of {parts})" if parts > 1 else self.title
            table = Table(title=title, title_justify="left", width=_width(head) + len(shown) * (cell + BORDER))
            table.add_column("", width=head, overflow="fold")
            for name in shown:
                table.add_column(one_line(name), justify="right", width=cell, overflow="fold")
            for metric, cells in self.rows:
                table.add_row(metric, *cells[start : start + size])
            yield table


MIN_CELL = 8
"""Least characters of a model's column: names fold within it."""
HEAD = 16
"""Width of the metrics' column in a narrow terminal: three models with intervals then fit into 80 characters."""
BORDER = 3
"""What a column takes beyond its text: a line and two blanks."""


def _width(head: int) -> int:
    """Of a table that has only the column of the metrics."""
    return head + BORDER + 1


def results_table(results: dict[str, Any]) -> ModelTable:
    """Models as columns, and human scores if several people graded the pairs; percent with bootstrap intervals."""
    models = results["models"] | {ROWS[key]: people for key, people in (results.get("people") or {}).items()}
    rows = [
        (metric_name(metric), [_cell(m, metric) for m in models.values()])
        for metric in table_metrics(results["step_keys"])
        if not all(_missing(m["metrics"].get(metric)) for m in models.values())
    ]
    decisions = [m.get("decision", "text") for m in models.values()]
    if set(decisions) != {"text"}:
        people = set(results.get("people") or {})
        named = ["–" if name in {ROWS[key] for key in people} else d for name, d in zip(models, decisions, strict=True)]
        rows.append(("decision rule", named))
    for what, metric in (("training", "training_tokens_per_second"), ("evaluation", "tokens_per_second")):
        speeds = [m["metrics"].get(metric) for m in models.values()]
        if any(speeds):
            rows.append((f"tokens/s ({what})", ["–" if s is None else f"{s:,.0f}" for s in speeds]))
    judged = [m["metrics"].get("pairs_per_second") for m in models.values()]
    if any(judged):
        rows.append(("pairs/s", ["–" if s is None else f"{s:,.1f}" for s in judged]))
    title = f"{results['split']} split, {results['pairs']} pairs, 95% intervals over queries"
    return ModelTable(title, list(models), rows)


def table_metrics(step_keys: Sequence[str]) -> list[str]:
    """Metrics of the table, in order."""
    steps = [f"step_{key}" for key in step_keys]
    labels = list(_NAMES).index("steps_all_right")
    return [*list(_NAMES)[:labels], *steps, *list(_NAMES)[labels:]]


def metric_name(metric: str) -> str:
    """A metric's name for people."""
    return _NAMES.get(metric) or f"step: {metric.removeprefix('step_')}"


def metric_text(metric: str, value: float, sign: str = "") -> str:
    """Shares in percent with one decimal, other numbers unchanged with two; `sign="+"` for a difference."""
    return f"{value:{sign}.2f}" if metric in PLAIN else f"{value * PERCENT:{sign}.1f}"


def _missing(value: float | None) -> bool:
    return value is None or math.isnan(value)


def _cell(model: dict[str, Any], metric: str) -> str:
    value = model["metrics"].get(metric)
    if _missing(value):
        return "–"
    low, high = model["intervals"].get(metric, (None, None))
    shown = metric_text(metric, value)
    if _missing(low) or _missing(high):
        return shown
    return f"{shown} [{metric_text(metric, low)}, {metric_text(metric, high)}]"
