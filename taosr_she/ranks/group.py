"""The processes of a run and the messages between them.

The process group is not torch's default one: accelerate, TRL and PEFT look for that, and would wait in rank 0 for
processes that do not run them.
"""

import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from taosr_she.base.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

HANGS = timedelta(hours=2)
"""How long a process waits for one that is at work. One that has ended is noticed at once, because its connections
close; this bound is for one that hangs, or whose machine has lost its network."""
IDLE = timedelta(days=365)
"""How long a process waits for its next share."""
BUCKET = 1 << 24
"""Number of values that are sent at a time."""
ENDED = "ended"
"""Key of the store that tells whether rank 0 has said why it ended."""


class Lost(UserError):
    """Another process of the run has ended."""


class LeadLost(Lost):
    """Rank 0 has ended."""


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
    """This process and its connections to the others. Every method blocks until its message has gone through."""

    def __init__(self, who: Launched) -> None:
        """Connect to all other processes of the run, which must do the same."""
        from torch.distributed import PrefixStore, ProcessGroupGloo
        from torch.distributed.rendezvous import rendezvous

        self.rank, self.size, self.local_rank, self.local_size = who.rank, who.size, who.local_rank, who.local_size
        self._store, _, _ = next(rendezvous("env://"))
        self._host: Any = ProcessGroupGloo(PrefixStore("host", self._store), self.rank, self.size, HANGS)
        self._gpu: Any = None

    def send(self, message: Any, rank: int) -> None:
        """Send any object that can be pickled. Raises Lost if that process has ended."""
        import torch

        data = torch.frombuffer(bytearray(pickle.dumps(message, protocol=5)), dtype=torch.uint8)
        with self._noticing(rank):
            self._host.send([torch.tensor([len(data)])], rank, 0).wait()
            self._host.send([data], rank, 0).wait()

    def receive(self, rank: int, wait: timedelta = HANGS) -> Any:
        """The next message from that process. Raises Lost if it has ended, or says nothing for so long."""
        import torch

        length = torch.zeros(1, dtype=torch.long)
        with self._noticing(rank):
            self._host.recv([length], rank, 0).wait(wait)
            data = torch.empty(int(length), dtype=torch.uint8)
            self._host.recv([data], rank, 0).wait()
        return pickle.loads(data.numpy().data)

    def broadcast(self, tensors: Sequence["Tensor"]) -> None:
        """Overwrite these tensors with those of rank 0; all processes call it with equal shapes and types."""
        from torch.distributed import BroadcastOptions

        options = BroadcastOptions()
        options.rootRank = 0
        for bucket, flat in self._buckets(tensors):
            with self._noticing():
                self._on(flat).broadcast([flat], options).wait()
            if self.rank:
                _spread(flat, bucket)

    def add_up(self, tensors: Sequence["Tensor"]) -> None:
        """Add the tensors of all processes up in those of rank 0; the others keep theirs."""
        from torch.distributed import ReduceOptions

        options = ReduceOptions()  # the sum is its default
        options.rootRank = 0
        for bucket, flat in self._buckets(tensors):
            with self._noticing():
                self._on(flat).reduce([flat], options).wait()
            if not self.rank:
                _spread(flat, bucket)

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

    @contextmanager
    def _noticing(self, rank: int | None = None) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            who = f"process {rank}" if rank is not None else "a process"
            kind = LeadLost if rank == 0 else Lost
            raise kind(
                f"{who} of the {self.size} of this run has ended or hangs; what was saved is kept: start it again, "
                "with any number of processes"
            ) from error

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
