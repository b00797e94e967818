"""The collapse monitor on rows of metrics, made up and of real runs."""

import json
import math
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.train.rl.collapse import CollapseConfig, collapse_signs, evenness

CODES = ("4", "3", "2", "1")
LABELS = st.lists(st.tuples(st.sampled_from(CODES), st.sampled_from(CODES)), min_size=8, max_size=8)


def row(answers: list[tuple[str, str]], signal: float = 0.5) -> dict[str, Any]:
    """A row of metrics from (true, given) labels."""
    true, found = Counter(t for t, _ in answers), Counter(g for _, g in answers)
    recall = {
        f"recall_{c}": sum(a == (c, c) for a in answers) / true[c] if true[c] else None for c in CODES
    }  # fmt: skip
    shares = {
        "labels_true": {c: true[c] / len(answers) for c in CODES},
        "labels_given": {c: found[c] / len(answers) for c in CODES},
    }
    return {**shares, **recall, "signal_share": signal}


def followed(rows: list[dict[str, Any]], config: CollapseConfig) -> list[dict[str, Any]]:
    """The rows with what the monitor adds to each, as the loop does it."""
    seen: list[dict[str, Any]] = []
    for one in rows:
        seen.append(one | collapse_signs([*seen, one], config))
    return seen


@given(st.lists(LABELS, min_size=1, max_size=6))
def test_evenness_is_the_ratio_of_pooled_entropies(updates: list[list[tuple[str, str]]]) -> None:
    def entropy(labels: list[str]) -> float:
        parts = [n / len(labels) for n in Counter(labels).values()]
        return -sum(p * math.log(p) for p in parts)

    true = entropy([t for answers in updates for t, _ in answers])
    found = entropy([g for answers in updates for _, g in answers])
    ratio = evenness([row(answers) for answers in updates])
    assert ratio == (pytest.approx(found / true, abs=1e-9) if true else None)


def test_it_speaks_when_evenness_falls_and_not_at_every_update() -> None:
    even = [(c, c) for c in CODES for _ in range(2)]
    gone = [(c, "4") for c in CODES for _ in range(2)]
    rows = followed(
        [row(even)] * 5 + [row(gone, signal=0.1)] * 6 + [row(even)] * 6 + [row(gone)] * 3, CollapseConfig(window=3)
    )
    spoken = [i for i, one in enumerate(rows) if one["collapse"]]
    assert spoken == [6, 18], "after two of three updates, and again after it had recovered"
    line = rows[6]["collapse"]
    assert line.startswith("labels collapse: 75% of the predicted labels are 4, against 25% of the true ones")
    assert "groups with signal 50% at the start, 23% now" in line and "settings.balance" in line
    assert rows[10]["label_evenness"] == 0
    later = followed([row(gone)] * 4, CollapseConfig(window=3))
    assert "hardly ever right on pairs of 3, 2, 1" in later[2]["collapse"] and not later[3]["collapse"]


def test_a_skew_that_people_have_too_is_no_collapse() -> None:
    rng = Random(0)
    skewed = [[(c, c) for c in rng.choices(CODES, (70, 15, 10, 5), k=32)] for _ in range(30)]
    assert not any(one["collapse"] for one in followed([row(a) for a in skewed], CollapseConfig()))
    assert not any(one["collapse"] for one in followed([row([("4", "4")] * 8)] * 9, CollapseConfig()))


def test_nothing_is_said_before_the_window_is_full_or_with_zero() -> None:
    gone = [row([(c, "4") for c in CODES])] * 9
    assert [bool(one["collapse"]) for one in followed(gone, CollapseConfig(window=4))] == [False] * 3 + [True] + [
        False
    ] * 5
    assert not any(one["collapse"] for one in followed(gone, CollapseConfig(min_evenness=0)))


def recorded() -> dict[str, Any]:
    """Title -> codes, the update of the first warning, and a row an update: signal share, labels given, true, recalls.

    Runs of the tiny model from the SFT start of the demo, 16 pairs an update, 8 rollouts each (docs/evaluation.md).
    """
    content: dict[str, Any] = json.loads((Path(__file__).parent / "collapses.json").read_text("utf-8"))
    for run in content.values():
        codes, n = run["codes"], len(run["codes"])
        run["rows"] = [
            {
                "signal_share": cells[0],
                "labels_given": dict(zip(codes, cells[1 : n + 1], strict=True)),
                "labels_true": dict(zip(codes, cells[n + 1 : 2 * n + 1], strict=True)),
                **{f"recall_{code}": value for code, value in zip(codes, cells[2 * n + 1 :], strict=True)},
            }
            for cells in run["rows"]
        ]
    return content


@pytest.mark.parametrize("title", sorted(recorded()))
def test_real_runs(title: str) -> None:
    """It keeps quiet on healthy runs, and speaks long before one label has nearly everything."""
    run = recorded()[title]
    spoken = [i for i, one in enumerate(followed(run["rows"], CollapseConfig()), start=1) if one["collapse"]]
    assert spoken[:1] == run["warned"]
    top = [max(one["labels_given"].values()) for one in run["rows"]]
    gone = [i for i in range(5, len(top) + 1) if sum(top[i - 5 : i]) / 5 >= 0.9]
    if gone:
        assert spoken[0] <= gone[0] - 10, f"warned at update {spoken[0]}, one label had 90% by update {gone[0]}"


def test_the_recorded_runs_hold_both_kinds() -> None:
    warned = {title: run["warned"] for title, run in recorded().items()}
    assert not warned["market, GRPO"] and not warned["market, SRPO"] and not warned["70% of one label, GRPO"]
    assert warned["labels at random, 60% of one, GRPO"] == [20]
