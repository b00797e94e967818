"""The drawings: ticks, thinning, averages, holes."""

import math
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
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
    """One share lies in one place, whatever row and interval it stands in."""

    def drawn(value: float, low: float, high: float) -> dict[str, list[tuple[float, float]]]:
        found: dict[str, list[tuple[float, float]]] = {}
        for e in ET.fromstring(str(interval_mark(value, (low, high), "s0"))):
            found.setdefault(e.get("class", ""), []).append((float(e.get("x1", -1)), float(e.get("x2", -1))))
        return found

    wide, narrow = drawn(0.2, 0.0, 0.9), drawn(0.2, 0.19, 0.21)
    assert wide["value"] == narrow["value"] and wide["track"] == narrow["track"]
    (zero, _), (half, _), (one, _), whole = wide["track"]
    assert whole == (zero, one) and wide["value"][0][0] == pytest.approx(zero + 0.2 * (one - zero), abs=0.1)
    assert wide["range"] == [(zero, pytest.approx(zero + 0.9 * (one - zero), abs=0.1))] and half == (zero + one) / 2
    assert drawn(0.0, -0.1, 1.2)["range"] == [(zero, one)], "nothing is drawn beyond the scale"
