"""The generated part of docs/online.md, between two markers."""

import math
from pathlib import Path
from typing import Any

from taosr_she.bench.marked import write_between
from taosr_she.bench.online.recipes import asks
from taosr_she.bench.online.settings import CHOSEN, EXACT, METRICS, PLAIN, TITLES

MARKS = "online"
NOBODY = {PLAIN: "nobody", EXACT: "nobody; every verdict is right"}


def write_page(results: dict[str, Any], page: Path) -> None:
    """Write the tables between the markers of `page`."""
    head = (
        f"Produced by `{results['command']}` (taosr_she {results['version']}, {results['machine']}). Means over seeds "
        "with 95% intervals (Student's t); differences are paired by seed. Share of test pairs with all steps right, "
        f"and F1 in percent. The rule that was chosen on the development seed: {TITLES[CHOSEN]}."
    )
    body = "\n\n".join([head, table_text(results["table"]), differences_text(results["differences"])])
    write_between(page, MARKS, body)


def table_text(rows: list[dict[str, Any]]) -> str:
    """The cells."""
    lines = ["| asks | budget | answers | changed | waited | " + " | ".join(METRICS.values()) + " | seeds |"]
    lines.append("|---|---|---|---|---|" + "---|" * len(METRICS) + "---|")
    for row in rows:
        title, budget = named(row["cell"])
        said = ["–", "–", "–"]
        if asks(row["cell"]):
            said = [f"{row['answered']:.0f}", f"{row['changed']:.0f}", f"{row['waited']:.1f}"]
        values = [_interval(row[metric]) for metric in METRICS]
        lines.append("| " + " | ".join([title, budget, *said, *values, str(row["seeds"])]) + " |")
    return "\n".join(lines)


def differences_text(rows: list[dict[str, Any]]) -> str:
    """The comparisons."""
    lines = ["| asks | minus | " + " | ".join(f"{name} | p" for name in METRICS.values()) + " |"]
    lines.append("|---|---|" + "---|---|" * len(METRICS))
    for row in rows:
        sides = [" ".join(part for part in named(row[side]) if part != "–") for side in ("cell", "other")]
        values = [text for metric in METRICS for text in (_interval(row[metric], "+"), _p(row[metric]["p"]))]
        lines.append("| " + " | ".join([*sides, *values]) + " |")
    return "\n".join(lines)


def named(cell: str) -> tuple[str, str]:
    """What a cell asks by, and its budget."""
    rule, _, budget = cell.rpartition("-")
    return (TITLES[rule], budget) if asks(cell) else (NOBODY[cell], "–")


def _interval(value: dict[str, Any], sign: str = "") -> str:
    mean, low, high = (math.nan if value[k] is None else float(value[k]) for k in ("mean", "low", "high"))
    if math.isnan(mean):
        return "–"
    shown = f"{100 * mean:{sign}.1f}"
    return shown if math.isnan(low) else f"{shown} ({100 * low:{sign}.1f} to {100 * high:{sign}.1f})"


def _p(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"
