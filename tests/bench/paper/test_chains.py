"""Pairs by who has a right chain, against a slow count written from the definition."""

import math
import random

import pytest

from taosr_she.bench.paper.chains import GROUPS, by_chain
from taosr_she.domain.domain import load_domain
from taosr_she.evaluate.prediction import Prediction

DOMAIN = load_domain("esci")


def predictions(rng: random.Random, count: int) -> list[Prediction]:
    return [
        Prediction(
            str(n), str(n), "E", rng.choice(["E", "S", None]),
            verdicts=tuple(rng.choice([0.0, 1.0, 1.0, 1.0, math.nan]) for _ in DOMAIN.step_keys),
        )
        for n in range(count)
    ]  # fmt: skip


def slow(seeds: list[tuple[list[Prediction], list[Prediction]]]) -> dict[str, tuple[int, int, int]]:
    counts = {name: [0, 0, 0] for name in GROUPS}
    for mine, base in seeds:
        for a, b in zip(mine, base, strict=True):
            steps = [k for k in range(len(DOMAIN.step_keys)) if k != DOMAIN.label_step]
            if any(math.isnan(p.verdicts[k]) for p in (a, b) for k in steps):
                continue
            right = tuple(all(p.verdicts[k] == 1 for k in steps) for p in (a, b))
            name = {(1, 1): "both", (1, 0): "mended", (0, 1): "broken", (0, 0): "neither"}[right]
            counts[name][0] += 1
            counts[name][1] += a.predicted == a.label
            counts[name][2] += b.predicted == b.label
    return counts


@pytest.mark.parametrize("count", [1, 2, 3, 40, 300])
def test_it_is_the_count(count: int) -> None:
    rng = random.Random(count)
    seeds = [(predictions(rng, count), predictions(rng, count)) for _ in range(3)]
    counts = slow(seeds)
    total = sum(n for n, _, _ in counts.values())
    for name, cell in by_chain(DOMAIN, seeds).items():
        n, own, base = counts[name]
        expected = {"share": n / total if total else None, "label": own / n if n else None,
                    "base_label": base / n if n else None}  # fmt: skip
        assert cell == pytest.approx(expected)


def test_answers_without_steps_are_left_out() -> None:
    bare = [Prediction("1", "1", "E", "E")]
    assert by_chain(DOMAIN, [(bare, bare)])["both"] == {"share": None, "label": None, "base_label": None}
