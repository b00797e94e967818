"""Plots of the section on examination: reliability of P(correct), and the sources of verdicts during training."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from taosr_she.report.plots import Frame, drawing, nice_ticks

HEIGHT = 230
MAX_RADIUS = 13
"""Radius of the dot that stands for all verdicts; the area of a dot is the share of the verdicts in its bin."""
MIN_RADIUS = 2.5
MARGIN = 0.06
"""Room around the unit square, so that large dots at its corners are whole."""
MAX_COLUMNS = 40
"""Longer runs are drawn as means of equal stretches of updates."""


def reliability_chart(name: str, colour: str, bins: Sequence[Mapping[str, Any]]) -> Markup:
    """Share of right steps by the mean P(correct) of its bin; dots on the dashed line are calibrated.

    `bins` as `evaluate.examiners.reliability` gives them: count, value, right.
    """
    frame = Frame(-MARGIN, 1 + MARGIN, -MARGIN, 1 + MARGIN, HEIGHT)
    (x1, y1), (x2, y2) = frame.at(0, 0), frame.at(1, 1)
    parts = [
        *frame.axes("P", nice_ticks(0.0, 1.0)),
        f'<line class="calibrated" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>',
    ]
    total = sum(b["count"] for b in bins)
    if len(bins) > 1:
        points = " ".join("{:.1f},{:.1f}".format(*frame.at(b["value"], b["right"])) for b in bins)
        parts.append(f'<polyline class="line {colour}" points="{points}"/>')
    for b in bins:
        x, y = frame.at(b["value"], b["right"])
        radius = max(MIN_RADIUS, MAX_RADIUS * math.sqrt(b["count"] / total))
        circle = f'<circle class="bin {colour}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">'
        parts.append(f"{circle}<title>{_bin_words(b)}</title></circle>")
    spoken = f"{name}: share of right steps by P(correct). " + "; ".join(map(_bin_words, bins))
    return drawing(spoken, parts, HEIGHT)


def _bin_words(b: Mapping[str, Any]) -> str:
    return f"P {b['value']:.2f}: {b['right']:.0%} of {b['count']:,} verdicts right"


def sources_chart(name: str, updates: Sequence[int], shares: Sequence[Mapping[str, float]]) -> Markup:
    """Stacked columns: the share of the verdicts by source, update after update. Classes are `by-<source>`."""
    columns = _columns(updates, shares)
    left, right = updates[0] - 0.5, updates[-1] + 0.5
    frame = Frame(left, right, 0.0, 1.0)
    bars = []
    for first, last, column in columns:
        low = 0.0
        for source, share in column.items():
            x, top = frame.at(first - 0.5, low + share)
            beyond, bottom = frame.at(last + 0.5, low)
            if share > 0:
                bars.append(
                    f'<rect class="by-{source}" x="{x:.1f}" y="{top:.1f}" width="{max(0.5, beyond - x - 0.6):.1f}" '
                    f'height="{bottom - top:.1f}"/>'
                )
            low += share
    first_words, last_words = (
        ", ".join(f"{source} {share:.0%}" for source, share in column.items() if share > 0)
        for *_, column in (columns[0], columns[-1])
    )
    spoken = f"{name}: verdicts by source, update {updates[0]}: {first_words}; update {updates[-1]}: {last_words}"
    return drawing(spoken, [*frame.axes("update", nice_ticks(0.0, 1.0)), *bars])


def _columns(updates: Sequence[int], shares: Sequence[Mapping[str, float]]) -> list[tuple[int, int, dict[str, float]]]:
    """(first update, last update, mean shares) of at most MAX_COLUMNS stretches."""
    n = min(len(updates), MAX_COLUMNS)
    edges = [round(i * len(updates) / n) for i in range(n + 1)]
    found = []
    for a, b in pairwise(edges):
        rows = shares[a:b]
        found.append((updates[a], updates[b - 1], {key: sum(r[key] for r in rows) / len(rows) for key in rows[0]}))
    return found
