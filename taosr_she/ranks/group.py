"""The processes of a run and the messages between them.

The process group is not torch's default one: accelerate, TRL and PEFT look for that, and would wait in rank 0 for
processes that do not run them.
"""

import os
import pickle
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Client, Connection, Listener
from typing import TYPE_CHECKING, Any

from taosr_she.base.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

HANGS = timedelta(hours=2)
"""How long a process waits for one that is at work. One that has ended is noticed at once, because its connections
close; this bound is for one that hangs, or whose machine has lost its network."""
BUCKET = 1 << 24
"""Number of values that are sent at a time."""
ENDED = "ended"
"""Key of the store that tells whether rank 0 has said why it ended."""


class Lost(UserError):
    """Another process of the run has ended."""


@dataclass(frozen=True)
class Launched:
    """What torchrun tells a process about itself."""

    rank: int
    size: int
    local_rank: int
    local_size: int  # processes on this machine


def launched(environment: Mapping[str, str] = os.environ) -> Launched | None:
    """None if this is the only process of its run."""
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= environment.keys():
        return None
    rank, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    local = int(environment.get("LOCAL_RANK", rank)), int(environment.get("LOCAL_WORLD_SIZE", size))
    return Launched(rank, size, *local) if size > 1 else None


class Group:
    """This process and its connections to the others. Every method blocks until its message has gone through.

    Messages go through a plain connection between rank 0 and each other process, whose end is noticed whatever the two
    are doing. Tensors go through gloo or NCCL, which may wait for ever for a process that was killed at the wrong
    moment, so those connections are watched meanwhile.
    """

    def __init__(self, who: Launched) -> None:
        """Connect to all other processes of the run, which must do the same."""
        from torch.distributed import PrefixStore, ProcessGroupGloo
        from torch.distributed.rendezvous import rendezvous

        self.rank, self.size, self.local_rank, self.local_size = who.rank, who.size, who.local_rank, who.local_size
        self.environment: dict[str, str] = {}
        """Variables by which torchrun and accelerate would tell others about the processes; kept from them until a
        stage trains in all processes."""
        self._store, _, _ = next(rendezvous("env://"))
        self._host: Any = ProcessGroupGloo(PrefixStore("host", self._store), self.rank, self.size, HANGS)
        self._gpu: Any = None
        self._others = self._connect()

    def _connect(self) -> dict[int, Connection]:
        """Rank 0: a connection to each other process; any other: one to rank 0."""
        if self.rank:
            port, key = self._store.get("lead").decode().split()
            mine = Client((os.environ["MASTER_ADDR"], int(port)), authkey=bytes.fromhex(key))
            mine.send_bytes(str(self.rank).encode())
            return {0: mine}
        key = os.urandom(32)
        with Listener(("0.0.0.0", 0), backlog=self.size, authkey=key) as door:
            self._store.set("lead", f"{door.address[1]} {key.hex()}")
            came = [door.accept() for _ in range(1, self.size)]
        return {int(connection.recv_bytes()): connection for connection in came}

    def send(self, message: Any, rank: int) -> None:
        """Send any object that can be pickled. Raises Lost if that process has ended."""
        try:
            self._others[rank].send_bytes(pickle.dumps(message, protocol=5))
        except OSError as error:
            raise self._lost(rank) from error

    def receive(self, rank: int, wait: float | None = HANGS.total_seconds()) -> Any:
        """The next message from that process. Raises Lost if it has ended, or says nothing for so many seconds."""
        try:
            if not self._others[rank].poll(wait):
                raise self._lost(rank)
            return pickle.loads(self._others[rank].recv_bytes())
        except (OSError, EOFError) as error:
            raise self._lost(rank) from error

    def broadcast(self, tensors: Sequence["Tensor"]) -> None:
        """Overwrite these tensors with those of rank 0; all processes call it with equal shapes and types."""
        from torch.distributed import BroadcastOptions

        options = BroadcastOptions()
        options.rootRank = 0
        for bucket, flat in self._buckets(tensors):
            self._wait(self._on(flat).broadcast([flat], options))
            if self.rank:
                _spread(flat, bucket)

    def add_up(self, tensors: Sequence["Tensor"]) -> None:
        """Add the tensors of all processes up in those of rank 0; the others keep theirs."""
        from torch.distributed import ReduceOptions

        options = ReduceOptions()  # the sum is its default
        options.rootRank = 0
        for bucket, flat in self._buckets(tensors):
            self._wait(self._on(flat).reduce([flat], options))
            if not self.rank:
                _spread(flat, bucket)

    def store(self, name: str) -> Any:
        """Where the processes can meet under a name of their own, for a process group of torch."""
        from torch.distributed import PrefixStore

        return PrefixStore(name, self._store)

    def end(self) -> None:
        """Let the others know that rank 0 ends in an orderly way, so that they need not say so."""
        with suppress(Exception):  # whoever keeps the store may be gone too
            self._store.set(ENDED, "yes")

    @property
    def ended(self) -> bool:
        """Whether rank 0 has said so."""
        with suppress(Exception):
            return bool(self._store.check([ENDED]))
        return False

    @property
    def broken(self) -> bool:
        """Whether a process that this one is connected to is gone."""
        return any(_closed(connection) for connection in self._others.values())

    @property
    def lead_lost(self) -> bool:
        """Whether rank 0 is gone and has not said so."""
        return _closed(self._others[0]) and not self.ended

    def _on(self, tensor: "Tensor") -> Any:
        """The connections for the tensor's device."""
        if tensor.device.type != "cuda":
            return self._host
        if self._gpu is None:
            from torch.distributed import PrefixStore, ProcessGroupNCCL

            self._gpu = ProcessGroupNCCL(
                PrefixStore("gpu", self._store), self.rank, self.size, ProcessGroupNCCL.Options()
            )
        return self._gpu

    def _wait(self, work: Any) -> None:
        """Wait for tensors, as long as all the processes that this one is connected to live."""
        pause = 2e-5
        try:
            while not work.is_completed():
                for rank, connection in self._others.items():
                    if _closed(connection):
                        raise self._lost(rank)
                time.sleep(pause)
                pause = min(2 * pause, 5e-3)
            work.wait()
        except RuntimeError as error:  # of torch
            raise self._lost(None) from error

    def _lost(self, rank: int | None) -> Lost:
        who = "a process" if rank is None else f"process {rank}"
        return Lost(
            f"{who} of the {self.size} of this run has ended or hangs; what was saved is kept: start it again, "
            "with any number of processes"
        )

    @staticmethod
    def _buckets(tensors: Sequence["Tensor"]) -> Iterator[tuple[list["Tensor"], "Tensor"]]:
        """Tensors of one type and device, as many as fit, with their values in a row."""
        import torch

        bucket: list[Tensor] = []
        for tensor in tensors:
            same = not bucket or (tensor.dtype, tensor.device) == (bucket[0].dtype, bucket[0].device)
            if bucket and not (same and sum(t.numel() for t in bucket) + tensor.numel() <= BUCKET):
                yield bucket, torch.cat([t.detach().reshape(-1) for t in bucket])
                bucket = []
            bucket.append(tensor)
        if bucket:
            yield bucket, torch.cat([t.detach().reshape(-1) for t in bucket])


def _spread(flat: "Tensor", bucket: Sequence["Tensor"]) -> None:
    """Put the values of a row back where they came from."""
    import torch

    with torch.no_grad():
        for tensor, values in zip(bucket, flat.split([t.numel() for t in bucket]), strict=True):
            tensor.copy_(values.view_as(tensor))


def _closed(connection: Connection) -> bool:
    """Whether the other end has gone; nothing is read."""
    with socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as known:
        try:
            return known.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
