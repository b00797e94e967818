"""The command line under torchrun: who leads, who follows, and one line for the user whoever ends."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from taosr_she.base.errors import UserError
from taosr_she.ranks.group import Group, Launched, Lost, launched
from taosr_she.ranks.work import follow, leading, processes

OF_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK", "ROLE_WORLD_SIZE")
"""Variables of the environment by which accelerate and TRL would take rank 0 for a part of their own group."""
OF_ACCELERATE = ("ACCELERATE_", "FSDP_", "PARALLELISM_CONFIG_")
"""How the variables begin with which `accelerate launch` says how the processes share a model. A stage that trains in
rank 0 alone must not see them."""


@contextmanager
def joined() -> Iterator[None]:
    """Inside, this process leads those that torchrun has started with it, if it has started any and this is rank 0.

    In any other rank, the body is not run: the process works for rank 0, and then exits.
    """
    who = launched()
    if who is None:
        yield
        return
    device = _device(who)
    group = Group(who)
    for name in [n for n in os.environ if n in OF_TORCHRUN or n.startswith(OF_ACCELERATE)]:
        group.environment[name] = os.environ.pop(name)
    if who.rank:
        leave(_followed(group, device))
    from taosr_she.ranks.replicas import Sender

    before = signal.signal(signal.SIGTERM, _asked_to_end)
    try:
        with leading(group, Sender()):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


def leave(code: int) -> NoReturn:
    """End this process now. torch's threads may still wait for a process that is gone, and would be waited for."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _device(who: Launched) -> str:
    """The GPU of this process; the CPU if there are more processes than GPUs."""
    import torch

    if who.local_rank >= (torch.cuda.device_count() if torch.cuda.is_available() else 0):
        return "cpu"
    torch.cuda.set_device(who.local_rank)
    return f"cuda:{who.local_rank}"


def _followed(group: Group, device: str) -> int:
    """The exit code of a process that is not rank 0."""
    import torch

    from taosr_she.ranks.replicas import Receiver

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; rank 0 answers it
    # torchrun ends this process too when rank 0 was killed, often before it has noticed.
    signal.signal(signal.SIGTERM, lambda *_: leave(_missing(group)))
    try:
        follow(group, Receiver(torch.device(device)))
    except Lost:  # rank 0, or another one, which rank 0 notices as well
        return _missing(group)
    return 0


def _missing(group: Group) -> int:
    """Say it if rank 0 has ended without a word; returns the exit code."""
    if group.rank == 1 and group.lead_lost:  # one of them speaks
        _say(
            "process 0 of this run, which leads the others, has ended without a word; what was saved is kept: "
            "start it again, with any number of processes"
        )
    return 0 if group.ended else 1


def _asked_to_end(number: int, frame: FrameType | None) -> None:
    raise Lost(
        "asked to end by SIGTERM, as torchrun does when another process of the run has ended; what was saved is kept: "
        "start it again, with any number of processes"
    )


def _say(message: str) -> None:
    print(f"taosr-she: {message}", file=sys.stderr, flush=True)


def only_one(command: str) -> None:
    """Raises UserError if this command, which splits nothing, was started by torchrun."""
    if processes() > 1:
        raise UserError(f"{command}: runs in one process; start it without torchrun")
