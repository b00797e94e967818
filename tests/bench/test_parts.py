"""What is left out is left out, for that step alone, and the step stays what it was."""

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from taosr_she.bench import parts, work
from taosr_she.bench.work import Bench, StepSize
from taosr_she.engine.masked import Masked
from taosr_she.engine.runner import LeanModel, WholeModel
from taosr_she.engine.speedups import without
from taosr_she.engine.two_part import TwoParts
from taosr_she.model.sampler import Sampling, sample_groups
from taosr_she.model.tiny import TinyConfig


def test_each_way_is_taken_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = TinyConfig(hidden=16, layers=1, heads=2, kv_heads=1, ffn=16)
    monkeypatch.setattr(work, "SIZES", {"tiny": small})
    monkeypatch.setattr(parts, "QUICK", [StepSize("tiny", 12, 5, 4)])
    seen: list[str] = []
    for kind in (LeanModel, WholeModel, TwoParts, Masked):
        name = "attend" if kind in (TwoParts, Masked) else "logits"
        own = getattr(kind, name)

        def watched(self, *args, own=own, kind=kind, **options):  # type: ignore[no-untyped-def]
            seen.append(kind.__name__)
            return own(self, *args, **options)

        monkeypatch.setattr(kind, name, watched)
    turns: list[set[str]] = []
    step = parts.OurStep.__call__

    def turn(self: parts.OurStep) -> dict[str, float]:
        seen.clear()
        result = step(self)
        turns.append(set(seen))
        return result

    monkeypatch.setattr(parts.OurStep, "__call__", turn)
    parts.measure_parts(Console(), tmp_path, 1)
    lean = {"LeanModel", "TwoParts"}
    assert turns[5:] == [lean, {"WholeModel", "TwoParts"}, {"LeanModel", "Masked"}, lean, set()]
    (seconds,) = json.loads((tmp_path / "parts.json").read_text())["seconds"].values()
    assert list(seconds) == list(parts.WITHOUT)
    assert all(value > 0 for row in seconds.values() for value in row.values())
    assert "| nothing left out |" in (tmp_path / "parts.md").read_text()


def test_all_ways_generate_the_same() -> None:
    bench = Bench()
    policy = bench.policy("tiny")
    prompts = bench.prompts(policy, 3, 20)
    results = []
    for left_out in parts.WITHOUT.values():
        with without(*left_out):
            results.append(sample_groups(policy, prompts, 4, Sampling(max_new_tokens=12), 1))
    for other in results[1:]:
        assert torch.equal(other.ids, results[0].ids)
        torch.testing.assert_close(other.logprobs, results[0].logprobs, atol=1e-4, rtol=0)
