"""The benchmark against plain transformers, on work of a few tokens and the device that is there."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from rich.console import Console
from transformers import Qwen3Config, Qwen3ForCausalLM

from taosr_she.bench import device, shapes
from taosr_she.bench.our_step import EveryOther
from taosr_she.bench.plain_step import PlainStep
from taosr_she.bench.work import PROMPTS, Bench, Endless, StepSize
from taosr_she.domain.pair import Pair, Product

TINY = {
    "vocab_size": 2048, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 8,
}  # fmt: skip


def test_both_sides_are_measured_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(shapes.SHAPES, "small", TINY | {"model_type": "qwen3"})
    device.measure_device(Console(), tmp_path / "out", "small", StepSize("small", 9, 4, 3), 1, 16384)
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed == json.loads((tmp_path / "out/device-small.json").read_text())
    for side in printed["sides"].values():
        assert side["generation"] > 0 and side["update"] > 0 and side["total"] >= side["generation"] + side["update"]
    sides = printed["sides"]
    assert printed["factors"]["total"] == pytest.approx(sides["plain"]["total"] / sides["ours"]["total"])
    assert 0 < printed["update_share_of_limit"] < 1


def test_a_side_without_memory_is_left_out_and_the_rest_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: PlainStep) -> dict[str, float]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setitem(shapes.SHAPES, "small", TINY | {"model_type": "qwen3"})
    monkeypatch.setattr(PlainStep, "__call__", full)
    device.measure_device(Console(), tmp_path, "small", StepSize("small", 9, 4, 3), 1, 16384)
    assert "plain: out of memory" in capsys.readouterr().out
    kept = json.loads((tmp_path / "device-small.json").read_text())
    assert list(kept["sides"]) == ["ours"] and kept["factors"] == {}
    assert "Speed-up over plain transformers: out of memory" in (tmp_path / "device-small.md").read_text()


def test_no_group_is_dropped_by_chance() -> None:
    """Random tokens say nothing in a vocabulary that the tokenizer does not know: signal must not hang on the text."""
    examined = EveryOther(2).examine(
        [Pair(str(i // 2), "q", "query", Product(title="t")) for i in range(8)], [None] * 8
    )
    assert examined.values[:, 4].tolist() == [1, 1, 1, 1, 1, 0, 1, 0]


def test_the_plain_update_does_not_depend_on_how_many_rows_go_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, gradients = Bench(), []
    tiny = bench.policy("tiny")
    prompts = bench.prompts(tiny, PROMPTS, 9)
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda parameters, limit: keep(parameters))

    def keep(parameters: object) -> None:
        gradients.append(torch.cat([p.grad.flatten() for p in parameters]))  # type: ignore[attr-defined]

    for budget in (13, 13 * 5, 10_000):
        torch.manual_seed(3)
        model = Qwen3ForCausalLM(Qwen3Config(**TINY))
        policy = Endless(model, tiny.tokenizer, torch.device("cpu"))
        PlainStep(policy, prompts, StepSize("tiny", 9, 4, 3), budget, nullcontext)()
    assert gradients[0].abs().max() > 0
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], rtol=1e-4, atol=1e-7)
