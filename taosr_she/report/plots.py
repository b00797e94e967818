"""Small hand-written SVG: a line chart, and a value with its interval. Colours and fonts come from the page's CSS."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

from taosr_she.base.escape import plain
from taosr_she.base.files import dumps

WIDTH, HEIGHT = 340, 180
LEFT, RIGHT, TOP, BOTTOM = 40, 10, 10, 26
MAX_POINTS = 240
"""Longer series are drawn as means of equal buckets, because a panel is about this many pixels wide."""
SMOOTH_FROM = 16
"""Series with at least this many points also get a moving average."""

MARK_WIDTH, MARK_HEIGHT = 130, 10


@dataclass(frozen=True)
class Series:
    """One line. NaN in `ys` leaves a gap."""

    name: str
    colour: str  # CSS class
    xs: Sequence[float]
    ys: Sequence[float]


@dataclass(frozen=True)
class Chart:
    """A panel: title, drawing, last value of each line, and the points for the pointer read-out."""

    title: str
    unit: str
    svg: Markup
    ends: list[tuple[str, str, str]]  # (colour, series name, last value)
    points: str  # JSON: {"x": [left, right of the axis], "s": [{"n": name, "x": [...], "y": [...]}]}


@dataclass(frozen=True)
class Frame:
    """The plotting area of a panel: the values at its edges."""

    left: float
    right: float
    low: float
    high: float
    height: float = HEIGHT

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The position of a point in the drawing."""
        return (
            LEFT + (x - self.left) / (self.right - self.left) * (WIDTH - LEFT - RIGHT),
            self.height - BOTTOM - (y - self.low) / (self.high - self.low) * (self.height - TOP - BOTTOM),
        )

    def axes(self, x_name: str, y_ticks: Sequence[float]) -> list[str]:
        """Grid lines, tick labels on both axes, and the name of the x axis."""
        parts = []
        for tick in y_ticks:
            y = self.at(self.left, tick)[1]
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{short(tick)}</text>')
        below = self.height - 10
        for tick in nice_ticks(self.left, self.right):
            if self.left <= tick <= self.right:
                x = self.at(tick, self.low)[0]
                anchor = "end" if x > WIDTH - RIGHT - 12 else "middle"
                x = WIDTH if anchor == "end" else x
                parts.append(f'<text x="{x:.1f}" y="{below}" text-anchor="{anchor}">{short(tick)}</text>')
        return [*parts, f'<text x="0" y="{below}">{escape(x_name)}</text>']


def line_chart(title: str, unit: str, x_name: str, series: Sequence[Series], share: bool) -> Chart:
    """Lines over a shared x axis. Thin lines are the values, thick ones their moving average.

    The y axis of a share stays between 0 and 1.
    """
    drawn = [thinned(s) for s in series]
    smooth = [moving_average(s.ys) for s in drawn]
    low, high = _limits([y for s in drawn for y in s.ys if math.isfinite(y)])
    left, right = min(s.xs[0] for s in drawn), max(s.xs[-1] for s in drawn)
    right = right if right > left else left + 1
    ticks = [tick for tick in nice_ticks(low, high) if not share or 0 <= tick <= 1]
    frame = Frame(left, right, min(low, ticks[0]), max(high, ticks[-1]))
    parts = frame.axes(x_name, ticks)
    for s, averaged in zip(drawn, smooth, strict=True):
        if averaged is not None:
            parts.append(f'<path class="raw {s.colour}" d="{_path(s.xs, s.ys, frame.at)}"/>')
        parts.append(f'<path class="line {s.colour}" d="{_path(s.xs, averaged or s.ys, frame.at)}"/>')
    ends = [(s.colour, s.name, fixed(_last(averaged or s.ys))) for s, averaged in zip(drawn, smooth, strict=True)]
    spoken = f"{title} ({unit}) by {x_name}. " + "; ".join(
        f"{s.name} from {fixed(_first(averaged or s.ys))} to {fixed(_last(averaged or s.ys))}"
        for s, averaged in zip(drawn, smooth, strict=True)
    )
    parts.append(f'<line class="cross" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    points = {"x": [left, right], "s": [{"n": s.name, "x": s.xs, "y": [_rounded(y) for y in s.ys]} for s in drawn]}
    return Chart(title, unit, drawing(spoken, parts), ends, dumps(points))


def drawing(spoken: str, parts: Sequence[str], height: float = HEIGHT) -> Markup:
    """A panel's SVG with alternative text."""
    head = f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(plain(spoken))}">'
    return Markup(f"{head}{''.join(parts)}</svg>")


def interval_mark(value: float, interval: tuple[float, float], colour: str) -> Markup:
    """A share as a line across the bar of its interval, on a scale from 0 to 1 shared by all cells of the page.

    Three small lines mark 0, one half and 1. This is only decoration: the numbers are beside it.
    """

    def at(v: float) -> float:
        return 1 + min(1.0, max(0.0, v)) * (MARK_WIDTH - 2)

    def line(kind: str, x1: float, x2: float, y1: float, y2: float) -> str:
        return f'<line class="{kind}" x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:g}" y2="{y2:g}"/>'

    low, high = interval
    middle = MARK_HEIGHT / 2
    parts = [line("track", at(v), at(v), 2, MARK_HEIGHT - 2) for v in (0, 0.5, 1)]
    parts += [line("track", at(0), at(1), middle, middle), line("range", at(low), at(high), middle, middle)]
    parts += [line("value", at(value), at(value), 0, MARK_HEIGHT)]
    return Markup(
        f'<svg class="mark {escape(colour)}" viewBox="0 0 {MARK_WIDTH} {MARK_HEIGHT}" width="{MARK_WIDTH}" '
        f'height="{MARK_HEIGHT}" preserveAspectRatio="none" aria-hidden="true">{"".join(parts)}</svg>'
    )


def nice_ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten) that cover [low, high]; about `wanted` steps."""
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def short(value: float) -> str:
    """A tick in about three digits: 0.25, 47.5, 1,250, 12.5k."""
    size = abs(value)
    if size >= 10_000:
        return f"{value / 1000:.4g}k"
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if size >= 0.001 or value == 0 else f"{value:.1e}"


def fixed(value: float) -> str:
    """Three decimals below ten, one below a hundred, otherwise none. So the numbers of a panel have similar length."""
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    return f"{value:.3f}" if size < 10 else f"{value:.1f}" if size < 100 else f"{value:,.0f}"


def thinned(series: Series) -> Series:
    """At most MAX_POINTS points: means of equal buckets, each at its last x."""
    n = len(series.xs)
    if n <= MAX_POINTS:
        return series
    edges = [round(i * n / MAX_POINTS) for i in range(MAX_POINTS + 1)]
    buckets = list(pairwise(edges))
    return Series(
        series.name, series.colour, [series.xs[b - 1] for _, b in buckets], [_mean(series.ys[a:b]) for a, b in buckets]
    )


def moving_average(ys: Sequence[float]) -> list[float] | None:
    """Centred mean over about a tenth of the series (fewer points at its ends); None for short series."""
    if len(ys) < SMOOTH_FROM:
        return None
    reach = max(1, len(ys) // 20)
    return [_mean(ys[max(0, i - reach) : i + reach + 1]) for i in range(len(ys))]


def _mean(values: Sequence[float]) -> float:
    known = [v for v in values if math.isfinite(v)]
    return sum(known) / len(known) if known else math.nan


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high - low > 1e-9 * max(1.0, abs(high)) else (low - 0.5, high + 0.5)


def _path(xs: Sequence[float], ys: Sequence[float], at: Callable[[float, float], tuple[float, float]]) -> str:
    """SVG path that lifts the pen at NaN."""
    out, pen = [], "M"
    for x, y in zip(xs, ys, strict=True):
        if not math.isfinite(y):
            pen = "M"
            continue
        px, py = at(x, y)
        out.append(f"{pen}{px:.1f} {py:.1f}")
        pen = "L"
    return "".join(out)


def _first(ys: Sequence[float]) -> float:
    return next((y for y in ys if math.isfinite(y)), math.nan)


def _last(ys: Sequence[float]) -> float:
    return _first(list(reversed(ys)))


def _rounded(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None
