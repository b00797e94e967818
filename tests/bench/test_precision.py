"""float32 and bfloat16 on work of a few tokens."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from taosr_she.bench import precision, shapes
from taosr_she.bench.work import StepSize

TINY = {
    "model_type": "llama", "vocab_size": 2048, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
}  # fmt: skip


def test_both_sides_are_measured_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(shapes.SHAPES, "small", TINY)
    precision.measure_precision(Console(), tmp_path / "out", "small", StepSize("small", 9, 4, 3), 1, 2)
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed == json.loads((tmp_path / "out/precision-small.json").read_text())
    exact, rounded = printed["sides"]["float32"], printed["sides"]["bfloat16"]
    assert exact["gap_max"] < 1e-4 < rounded["gap_max"] < 0.2
    small = printed["sides"]["bfloat16, LoRA of rank 2"]
    assert small["held"] < rounded["held"] / 2 and len(printed["sides"]) == 4
    for side in (exact, rounded, small):
        assert side["generation"] > 0 and side["update"] > 0 and 0 < side["update_share_of_limit"] < 1
        assert side["tokens_per_second"] == pytest.approx(8 * 3 * 4 / side["generation"])
