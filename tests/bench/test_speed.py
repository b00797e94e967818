"""The benchmark on work of a few tokens: both sides do the same, and what it writes is complete."""

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console
from transformers import Qwen3Config, Qwen3ForCausalLM

from taosr_she.bench import shapes, speed, work
from taosr_she.bench.machine import PeakMemory, matrix_rate, needed_operations
from taosr_she.bench.our_step import OurStep
from taosr_she.bench.work import Bench, StepSize
from taosr_she.model.tiny import TinyConfig

SMALL = TinyConfig(hidden=16, layers=1, heads=2, kv_heads=1, ffn=16)


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


def test_both_sides_do_the_same_work_and_everything_is_written(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(work, "SIZES", {"tiny": SMALL})
    monkeypatch.setattr(speed, "Bench", lambda: bench)
    monkeypatch.setattr(speed, "QUICK", [StepSize("tiny", 12, 5, 4, 0.5)])
    monkeypatch.setattr(speed, "judge_speed", lambda bench, products, rounds: speed_of_judging)
    speed_of_judging = {"products": 9, "pairs_per_second": 20.0, "copied": 5.0, "factor": 4.0}
    speed.measure_speed(Console(), tmp_path, quick=True, steps=1)
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed == json.loads((tmp_path / "speed.json").read_text())
    (row,) = printed["cells"]
    for side in ("ours", "trl"):
        parts = [row[side][p] for p in speed.PARTS]
        assert min(parts[:3]) > 0 and sum(parts) == pytest.approx(row[side]["total"], rel=1e-6)
    assert row["factor"] == pytest.approx(row["trl"]["total"] / row["ours"]["total"])
    assert "a speed-up of 4.0" in (tmp_path / "speed.md").read_text() and (tmp_path / "speed.png").stat().st_size > 1000


def test_our_step_generates_all_tokens_and_skips_groups_without_signal(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "SIZES", {"tiny": SMALL})
    policy = bench.policy("tiny")
    prompts = bench.prompts(policy, work.PROMPTS, 12, shared=7)
    assert len({tuple(p[:7]) for p in prompts}) == 1 and len({tuple(p) for p in prompts}) == work.PROMPTS
    rows: list[int] = []
    import taosr_she.bench.our_step as module

    update = module.update_policy

    def spy(policy, reference, prompts, batch, settings, optimizer):  # type: ignore[no-untyped-def]
        rows.extend(torch.nonzero(batch.rows_with_signal).flatten().tolist())
        assert batch.rollouts.mask.all() and batch.rollouts.ids.shape == (8 * work.PROMPTS, 5)
        return update(policy, reference, prompts, batch, settings, optimizer)

    monkeypatch.setattr(module, "update_policy", spy)
    OurStep(policy, bench.domain, prompts, StepSize("tiny", 12, 5, 8, 0.5))()
    assert rows and min(rows) >= 8 * 4  # the first four groups are silent


def test_needed_operations_equal_those_of_a_real_pass() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    config = Qwen3Config(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, attn_implementation="eager",
    )  # fmt: skip
    model = Qwen3ForCausalLM(config)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=torch.zeros(1, 40, dtype=torch.long))
    # One response of one prompt, forward alone. Real attention also computes what the causal mask hides, and the real
    # head runs on the prompt too.
    ours = needed_operations(config, 1, 20, 1, 20, live=0)
    hidden_pairs, head = 40 * 40 / 2, 20 * 2 * 32 * 50
    assert counter.get_total_flops() == pytest.approx(ours + hidden_pairs * 4 * 32 * 2 + head, rel=1e-6)
    assert needed_operations(config, 1, 20, 1, 20, live=1) == 4 * ours


def test_the_machine_is_measured() -> None:
    assert 1e8 < matrix_rate(256, 0.05) < 1e15
    with PeakMemory() as memory:
        held = torch.ones(50_000_000)
        torch.sin(held, out=held)
    assert 100e6 < memory.rise < 2e9


def test_the_larger_model_has_a_table_of_its_own(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {
        "model_type": "llama", "vocab_size": 3000, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1,
    }  # fmt: skip
    monkeypatch.setitem(shapes.SHAPES, "a small one", small)
    monkeypatch.setattr(speed, "Bench", lambda: bench)
    both = [StepSize("a small one", 12, 5, 4, precision=precision) for precision in ("float32", "bfloat16")]
    monkeypatch.setattr(speed, "LARGE", both)
    speed.measure_large(Console(), tmp_path, quick=False, steps=1)
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [row["precision"] for row in printed["cells"]] == ["float32", "bfloat16"]
    table = (tmp_path / "speed-large.md").read_text()
    assert "a small one, bfloat16" in table and "bfloat16 and float32 on the CPU" in table
