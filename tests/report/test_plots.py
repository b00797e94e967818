"""The drawings: ticks, thinning, averages, holes."""

import math
import xml.etree.ElementTree as ET
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from taosr_she.report.plots import MAX_POINTS, Series, interval_mark, line_chart, moving_average, nice_ticks, thinned

NAN = float("nan")


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_even_few_and_cover_the_range(low: float, width: float) -> None:
    ticks = nice_ticks(low, low + width)
    steps = [b - a for a, b in pairwise(ticks)]
    assert ticks[0] <= low + 1e-6 * width and ticks[-1] >= low + width - 1e-6 * width
    assert 2 <= len(ticks) <= 7 and max(steps) - min(steps) < 1e-6 * max(steps)


@given(st.lists(st.floats(-5, 5) | st.just(NAN), min_size=1, max_size=2000))
def test_thinning_keeps_mean_and_end(ys: list[float]) -> None:
    series = thinned(Series("a", "s0", list(range(len(ys))), ys))
    assert len(series.xs) == len(series.ys) == min(len(ys), MAX_POINTS)
    assert series.xs[-1] == len(ys) - 1
    known = [y for y in ys if math.isfinite(y)]
    if known:
        assert min(known) - 1e-9 <= min(y for y in series.ys if math.isfinite(y)) <= max(known) + 1e-9


def test_moving_average_against_a_loop() -> None:
    ys = [float(i % 7) if i % 5 else NAN for i in range(60)]
    expected = []
    for i in range(60):
        window = [ys[j] for j in range(i - 3, i + 4) if 0 <= j < 60 and math.isfinite(ys[j])]
        expected.append(sum(window) / len(window))
    assert moving_average(ys) == expected
    assert moving_average(ys[:10]) is None


def test_a_chart_is_valid_svg_with_a_hole_at_nan_and_says_its_ends() -> None:
    a = Series("<b>", "s1", [1, 2, 3, 4], [0.5, NAN, 0.75, 1.0])
    chart = line_chart("Reward & more", "share", "update", [a], share=True)
    root = ET.fromstring(str(chart.svg))
    path = next(e for e in root.iter("path") if e.get("class") == "line s1")
    assert (path.get("d") or "").count("M") == 2
    assert root.get("aria-label") == "Reward & more (share) by update. <b> from 0.500 to 1.000"
    assert chart.ends == [("s1", "<b>", "1.000")]
    assert "1.1" not in [e.text for e in root.iter("text")], "a share has no tick above 1"


def test_one_flat_point_is_drawn() -> None:
    chart = line_chart("KL", "nats", "update", [Series("x", "s0", [1], [0.0])], share=False)
    assert "nan" not in str(chart.svg)


def test_interval_mark_lies_on_the_shared_scale() -> None:
    left, right = (
        ET.fromstring(str(interval_mark(v, (v - 0.1, v + 0.1), (0.1, 0.9), "s0"))).find("circle") for v in (0.2, 0.8)
    )
    assert left is not None and right is not None
    assert 0 < float(left.get("cx", 0)) < float(right.get("cx", 0)) < 84
