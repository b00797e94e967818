"""The model on paper gives back what was measured, and grows the way it should."""

from pathlib import Path

import pytest

from taosr_she.bench.scale import FIGURES, QWEN3_8B, SIZES, bandwidth_share, judging, shape_of, span, training, value
from taosr_she.bench.shapes import shape_config


def test_sizes_are_those_of_the_models() -> None:
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(shape_config("qwen3-0.6b"))
    counted = sum(p.numel() for p in model.parameters())
    assert shape_of("qwen3-0.6b").weights == pytest.approx(counted, rel=1e-3)
    assert QWEN3_8B.weights == pytest.approx(8.2e9 - QWEN3_8B.words * QWEN3_8B.hidden, rel=0.01)
    assert shape_of("qwen3-0.6b").kept == 28 * 2 * 8 * 128 * 2


def test_one_gpu_is_what_was_measured() -> None:
    one = training(1)
    assert one["least"] == one["most"] == pytest.approx(1.412, abs=0.005) and one["wire"] == 0
    assert 0.05 < bandwidth_share() < 0.5


def test_more_costs_more() -> None:
    small = shape_of("qwen3-0.6b")
    label, reasons = judging(small, False), judging(small, True)
    assert label["bytes"] == 0 < reasons["bytes"] and label["seconds"] < reasons["seconds"]
    assert label["job"] > label["seconds"] + value("prompt")
    assert judging(QWEN3_8B, True)["seconds"] > 3 * reasons["seconds"]
    steps = [training(gpus) for gpus in SIZES]
    assert all(step["least"] <= step["most"] < step["batch for each"] for step in steps[1:])


def test_every_figure_says_where_it_is_from(cli: object, tmp_path: Path) -> None:
    code, out, _ = cli("bench", "scale", "--out", tmp_path)  # type: ignore[operator]
    assert code == 0 and (tmp_path / "scale.json").is_file()
    for name, figure in FIGURES.items():
        assert figure.source and f"| {name} |" in out
    assert (span(0.5), span(2.0), span(72.0)) == ("30 min", "2.0 h", "3 days")


def test_the_page_has_the_tables_of_the_command(cli: object, tmp_path: Path) -> None:
    cli("bench", "scale", "--out", tmp_path)  # type: ignore[operator]
    page = (Path(__file__).parents[2] / "docs" / "scale.md").read_text("utf-8")
    rows = [line for line in (tmp_path / "scale.md").read_text("utf-8").splitlines() if line.startswith("| ")]
    assert len(rows) > 30 and [row for row in rows if row not in page] == []
