"""The processes of a run are a group of accelerate's for the time of one training, and only then."""

import os

import pytest
import torch
from toy_ranks import in_world, led

from taosr_she.engines.trl.world import divided_here, world
from taosr_she.ranks.work import everywhere, this_group


def test_alone() -> None:
    with world(torch.device("cpu"), "alone") as count:
        assert count == 1 and divided_here() == ""


def test_two_processes_one_training_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")
    with led(2):
        assert not {"ACCELERATE_USE_FSDP", "FSDP_VERSION", "RANK"} & os.environ.keys()
        group = this_group()
        assert group is not None and group.environment["FSDP_VERSION"] == "2"
        for name in ("first", "second"):
            assert everywhere(in_world, [], name) == [(2, "fsdp", "2", [0, 1])] * 2
        assert "FSDP_VERSION" not in os.environ
        from accelerate.state import PartialState

        assert PartialState(cpu=True).num_processes == 1
        PartialState._reset_state()
