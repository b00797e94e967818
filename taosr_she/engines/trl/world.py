"""The processes of a run as a process group of torch and accelerate, for the time of one training."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from taosr_she.ranks.group import HANGS, Group
from taosr_she.ranks.work import this_group


@contextmanager
def world(device: torch.device, name: str) -> Iterator[int]:
    """Inside, accelerate knows the processes of this run; yields their number. All of them enter with the same `name`,
    which no earlier training has had.

    What `accelerate launch` has said about sharing the model holds inside, and is unknown again afterwards: a stage
    that trains in rank 0 alone must not wait for the others.
    """
    from accelerate.state import PartialState

    group = this_group()
    _forget()
    try:
        with _environment({} if group is None else group.environment), _process_group(group, device, name):
            state = PartialState(cpu=device.type == "cpu")
            if device.type == "cpu" and os.environ.get("ACCELERATE_USE_FSDP") == "true" and state.num_processes > 1:
                _divide_on_cpus(state)
            yield state.num_processes
    finally:
        _forget()


@contextmanager
def _process_group(group: Group | None, device: torch.device, name: str) -> Iterator[None]:
    from torch import distributed

    if group is None:
        yield
        return
    backend = "gloo" if device.type == "cpu" else "cuda:nccl,cpu:gloo"
    distributed.init_process_group(
        backend, store=group.store(name), rank=group.rank, world_size=group.size, timeout=HANGS
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()


@contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _divide_on_cpus(state: object) -> None:
    """Accelerate 1.15 divides a model only if the processes have accelerators; FSDP itself also works on CPUs."""
    from accelerate.utils import DistributedType

    state.distributed_type = DistributedType.MULTI_GPU  # type: ignore[attr-defined]


def _forget() -> None:
    """Accelerate keeps what it knows about the processes for the whole life of this one."""
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
