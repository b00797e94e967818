"""The processes of a run as a process group of torch and accelerate, for the time of one training."""

import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from taosr_she.base.errors import UNWRITABLE, UserError
from taosr_she.ranks.group import HANGS, Group, Lost
from taosr_she.ranks.work import this_group

GRACE = 0.5
"""Seconds after an error until it is asked whether another process has ended, which may be its cause."""


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
            if device.type == "cpu" and divided_here() == "fsdp":
                _divide_on_cpus(state)
            yield state.num_processes
    finally:
        _forget()


def divided_here() -> str:
    """`fsdp` or `deepspeed` if `accelerate launch` has said that the processes divide the model so; else empty."""
    group = this_group()
    said = {} if group is None else group.environment
    return next((way for way in ("fsdp", "deepspeed") if said.get(f"ACCELERATE_USE_{way.upper()}") == "true"), "")


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


def _divide_on_cpus(state: Any) -> None:
    """Accelerate 1.15 divides a model only if the processes have accelerators; FSDP itself also works on CPUs."""
    from accelerate.utils import DistributedType

    state.distributed_type = DistributedType.MULTI_GPU


class Together(UserError):
    """Raised in all processes at the same point."""


@contextmanager
def alone_or_together() -> Iterator[None]:
    """Around a training in several processes: an error in one of them only ends the run with its reason. The others
    wait for it in the middle of a message, and nothing else would wake them."""
    try:
        yield
    except (Together, Lost):
        raise
    except Exception as error:
        group = this_group()
        if group is None:
            raise
        time.sleep(GRACE)
        if isinstance(error, RuntimeError) and group.broken:  # torch, in a message to a process that has ended
            raise Lost(
                f"another of the {group.size} processes of this run has ended; what was saved is kept: start it again"
            ) from error
        if not isinstance(error, UserError) and getattr(error, "errno", None) not in UNWRITABLE:
            traceback.print_exc()
        said = f"process {group.rank}: {error}" if group.rank else str(error)
        if group.rank:  # rank 0's own reason is shown by the command line
            print(f"taosr-she: {said}", file=sys.stderr, flush=True)
        raise Lost(said) from error


def _forget() -> None:
    """Accelerate keeps what it knows about the processes for the whole life of this one."""
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
