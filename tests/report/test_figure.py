"""A metric over runs as a picture."""

import json
from pathlib import Path

import numpy as np
import pytest

from taosr_she.base.errors import UserError
from taosr_she.report.figure import draw_metric, metric_curves


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    folders = []
    for seed in (1, 2):
        stage = tmp_path / f"seed-{seed}" / "stages" / "rl"
        stage.mkdir(parents=True)
        (stage / "stage.json").write_text(json.dumps({"kind": "rl", "seconds": 1, "fingerprint": "x"}))
        rows = [{"step": n, "reward": 0.5, "entropy": seed * n} for n in range(1, 8 + seed)]
        (stage / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        folders.append(tmp_path / f"seed-{seed}")
    return folders


def test_curves_are_moving_averages_cut_to_the_shortest_run(runs: list[Path]) -> None:
    curves = metric_curves(runs, "entropy")["rl"]
    assert curves.shape == (2, 8)
    for seed in (1, 2):
        slow = [np.mean([seed * m for m in range(max(1, n - 4), n + 1)]) for n in range(1, 9)]
        np.testing.assert_allclose(curves[seed - 1], slow)


def test_it_is_drawn_and_a_metric_that_is_not_there_is_named(runs: list[Path], tmp_path: Path) -> None:
    draw_metric(runs, "entropy", tmp_path / "entropy.png")
    assert (tmp_path / "entropy.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match="no training stage has the metric 'entropie'"):
        draw_metric(runs, "entropie", tmp_path / "x.png")


def test_a_dollar_sign_in_a_name_is_no_formula(runs: list[Path], tmp_path: Path) -> None:
    for run in runs:
        (run / "stages" / "rl").rename(run / "stages" / "under $_{$ 5")
    draw_metric(runs, "entropy", tmp_path / "entropy.png")
    assert (tmp_path / "entropy.png").read_bytes().startswith(b"\x89PNG")
