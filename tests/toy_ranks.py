"""Processes beside the test's own, which leads them."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from taosr_she.base.errors import UserError
from taosr_she.engines.trl.world import divided_here, world
from taosr_she.ranks.launch import OF_TORCHRUN, joined
from taosr_she.ranks.work import rank

FOLLOW = "from taosr_she.ranks.launch import joined\nwith joined():\n    raise AssertionError('this is not rank 0')"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def told(rank: int, size: int, port: int) -> dict[str, str]:
    """The environment that torchrun gives a process."""
    own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    here = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])  # for the functions below
    common = {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1", "PYTHONPATH": here}
    return {name: str(value) for name, value in own.items()} | common


@contextmanager
def led(size: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Inside, this process is rank 0 of `size`; yields the others."""
    port = free_port()
    others = [
        subprocess.Popen(
            [sys.executable, "-c", FOLLOW], env=os.environ | told(rank, size, port), stderr=subprocess.PIPE, text=True
        )
        for rank in range(1, size)
    ]
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in told(0, size, port).items():
                patch.setenv(name, value)
            with joined():
                assert not set(OF_TORCHRUN) & os.environ.keys()
                yield others
        for other in others:
            said = other.communicate(timeout=30)[1]
            assert other.returncode in (0, -signal.SIGKILL) and said == "", said
    finally:
        for other in others:
            other.kill()


def bits(model: Any) -> tuple[Any, ...]:
    """What decides about the numbers of a process."""
    device = model.device.type
    states = [(m.training, getattr(m, "_disable_adapters", None)) for m in model.modules()]
    every = [t.detach().clone() for named in (model.named_parameters, model.named_buffers) for _, t in named()]
    tied = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    return torch.is_autocast_enabled(device), states, [w.requires_grad for w in model.parameters()], tied, every


def in_world(name: str) -> tuple[int, str, str, list[int]]:
    """What accelerate knows in a training in all processes, and the ranks that meet there."""
    from accelerate.utils import gather_object

    with world(torch.device("cpu"), name) as count:
        ranks: list[int] = gather_object([rank()])
        return count, divided_here(), os.environ["FSDP_VERSION"], ranks


def failing(share: list[int], only: int) -> list[int]:
    if share[0] == only:
        raise UserError(f"no, says process {rank()}")
    if share[0] > 10:
        raise ZeroDivisionError
    return share
