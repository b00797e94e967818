"""The profile on work of a few tokens: shares are of the whole, and what should take time does."""

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from taosr_she.bench import profile, work
from taosr_she.bench.work import StepSize
from taosr_she.model.tiny import TinyConfig


def test_shares_are_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = TinyConfig(hidden=16, layers=1, heads=2, kv_heads=1, ffn=16)
    monkeypatch.setattr(work, "SIZES", {"tiny": small})
    monkeypatch.setattr(profile, "QUICK", [StepSize("tiny", 12, 5, 4)])
    threads = torch.get_num_threads()
    try:
        profile.measure_profile(Console(), tmp_path, 1)
    finally:
        torch.set_num_threads(threads)
    (shares,) = json.loads((tmp_path / "profile.json").read_text())["shares"].values()
    assert sum(shares.values()) == pytest.approx(1)
    assert all(shares[kind] > 0 for kind in profile.KINDS)
    assert "| matrix products |" in (tmp_path / "profile.md").read_text()


def test_the_kinds_name_operations_that_torch_has() -> None:
    for name in profile.KIND_OF:
        assert hasattr(torch.ops.aten, name.removeprefix("aten::")), name
