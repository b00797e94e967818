"""Copies of rank 0's models in the other processes; changed weights are found and sent before the next use.

Other objects (a tokenizer, a domain) are sent once, and must not change.

A weight has changed if its memory or torch's version counter has. Every operation in place counts there, except for
fused optimizers, whose steps are counted by a hook. The first update of every training checks in addition that the
copies have moved (`train/rl/start_check.py`).
"""

import io
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import finalize

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version
from torch.optim.optimizer import register_optimizer_step_post_hook

from taosr_she.base.errors import UserError

Flags = list[tuple[bool, bool]]
"""Of every module: whether it is in training mode, and whether its adapter is off."""


@dataclass(frozen=True)
class TensorShape:
    """A tensor without its values."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    on_gpu: bool
    parameter: bool
    trained: bool  # requires a gradient


@dataclass(frozen=True)
class Change:
    """What has changed in a model or other object. The values of the tensors `places` follow the message."""

    number: int
    skeleton: bytes | None  # the object without the values of its tensors, if it is new or has other tensors
    shapes: tuple[TensorShape, ...]  # of all tensors of a new one
    places: tuple[int, ...]
    flags: Flags | None


@dataclass
class Changes:
    """Of the objects that are used next, and the numbers of those that are gone."""

    objects: list[Change] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)


@dataclass
class _Sent:
    """What the other processes have of a model."""

    identity: tuple[object, ...]
    tensors: list[Tensor]
    marks: list[tuple[int, int] | None]
    flags: Flags


class Sender:
    """Rank 0's side. `close` it at the end."""

    def __init__(self) -> None:
        self._hook = register_optimizer_step_post_hook(_count)
        self._numbers: dict[int, int] = {}  # id of an object that lives -> its number
        self._sent: dict[int, _Sent | None] = {}
        self._gone: list[int] = []
        self._next = 0

    def close(self) -> None:
        """Count no more steps of optimizers."""
        self._hook.remove()

    def number(self, thing: object) -> int:
        """The number by which the others know this object."""
        if id(thing) not in self._numbers:
            self._numbers[id(thing)] = self._next
            finalize(thing, self._forget, id(thing), self._next).atexit = False
            self._next += 1
        return self._numbers[id(thing)]

    def changes(self, things: Sequence[object]) -> tuple[Changes, list[Tensor]]:
        """What the others must change before they use these models and other objects, and the tensors whose values to
        send. Raises UserError for one that cannot be copied.
        """
        changes, tensors = Changes(gone=self._gone), []
        self._gone = []
        for number, thing in {self.number(thing): thing for thing in things}.items():
            if isinstance(thing, nn.Module):
                change, changed = self._change(number, thing)
            elif number not in self._sent:
                change, changed = Change(number, _take_apart(thing)[0], (), (), None), []
                self._sent[number] = None
            else:
                continue
            if change is not None:
                changes.objects.append(change)
                tensors += changed
        return changes, tensors

    def _change(self, number: int, model: nn.Module) -> tuple[Change | None, list[Tensor]]:
        identity, flags = _identity(model), _flags(model)
        known = self._sent.get(number)
        if known is None or known.identity != identity:
            skeleton, tensors = _take_apart(model)
            self._sent[number] = _Sent(identity, tensors, [_mark(t) for t in tensors], flags)
            return Change(number, skeleton, tuple(map(_shape, tensors)), tuple(range(len(tensors))), flags), tensors
        marks = [_mark(t) for t in known.tensors]
        changed = [
            place for place, (now, before) in enumerate(zip(marks, known.marks, strict=True))
            if now is None or now != before
        ]  # fmt: skip
        if not changed and flags == known.flags:
            return None, []
        told = flags if flags != known.flags else None
        known.marks, known.flags = marks, flags
        return Change(number, None, (), tuple(changed), told), [known.tensors[place] for place in changed]

    def _forget(self, identity: int, number: int) -> None:
        del self._numbers[identity]
        if number in self._sent:
            del self._sent[number]
            self._gone.append(number)


def _count(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    increment_version([weight for group in optimizer.param_groups for weight in group["params"]])


class Receiver:
    """The side of the other processes, which have their tensors on `device`, or on a CPU where rank 0 has.

    UserError for tensors that rank 0 has on a GPU, if this process has none."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._things: dict[int, Any] = {}
        self._tensors: dict[int, list[Tensor]] = {}

    def thing(self, number: int) -> Any:
        """The copy with this number."""
        return self._things[number]

    def prepare(self, changes: Changes) -> list[Tensor]:
        """Make what is new; returns the tensors whose values come next."""
        for number in changes.gone:
            self._things.pop(number, None)
            self._tensors.pop(number, None)
        awaited = []
        for change in changes.objects:
            if change.skeleton is not None:
                tensors = [self._empty(shape) for shape in change.shapes]
                self._things[change.number] = _Unpickler(io.BytesIO(change.skeleton), tensors).load()
                self._tensors[change.number] = tensors
            if change.flags is not None:
                _set_flags(self._things[change.number], change.flags)
            awaited += [self._tensors[change.number][place] for place in change.places]
        return awaited

    def _empty(self, of: TensorShape) -> Tensor:
        if of.on_gpu and self._device.type == "cpu":
            raise UserError("more processes than GPUs on a machine: start one for each GPU, or use device=cpu")
        device = self._device if of.on_gpu else torch.device("cpu")
        empty = torch.empty(of.shape, dtype=of.dtype, device=device)
        return nn.Parameter(empty, requires_grad=of.trained) if of.parameter else empty


class _Pickler(pickle.Pickler):
    """Leaves the tensors out, each once, and collects them."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=5)
        self.tensors: list[Tensor] = []
        self._places: dict[int, int] = {}

    def persistent_id(self, obj: Any) -> int | None:
        if not isinstance(obj, Tensor):
            return None
        if id(obj) not in self._places:
            self._places[id(obj)] = len(self.tensors)
            self.tensors.append(obj)
        return self._places[id(obj)]


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, tensors: list[Tensor]) -> None:
        super().__init__(file)
        self._tensors = tensors

    def persistent_load(self, pid: Any) -> Tensor:
        return self._tensors[pid]


def _take_apart(thing: object) -> tuple[bytes, list[Tensor]]:
    file = io.BytesIO()
    pickler = _Pickler(file)
    try:
        pickler.dump(thing)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise UserError(
            f"{type(thing).__name__} cannot be copied to other processes ({error}): run it in one process"
        ) from error
    return file.getvalue(), pickler.tensors


def _shape(tensor: Tensor) -> TensorShape:
    parameter = isinstance(tensor, nn.Parameter)
    return TensorShape(tuple(tensor.shape), tensor.dtype, tensor.is_cuda, parameter, parameter and tensor.requires_grad)


def _identity(model: nn.Module) -> tuple[object, ...]:
    """Changes when the model gets other modules or other tensor objects, as by adding or merging an adapter."""
    modules = [(name, type(module)) for name, module in model.named_modules()]
    tensors = [
        (name, id(t), t.shape, t.dtype, t.device, t.requires_grad)
        for named in (model.named_parameters, model.named_buffers)
        for name, t in named()
    ]
    return (*modules, *tensors)


def _mark(tensor: Tensor) -> tuple[int, int] | None:
    """Where the values are and how often they were changed; None if torch does not count, so that they are sent."""
    return None if tensor.is_inference() else (tensor.data_ptr(), tensor._version)


def _flags(model: nn.Module) -> Flags:
    return [(module.training, bool(getattr(module, "_disable_adapters", False))) for module in model.modules()]


def _set_flags(model: nn.Module, flags: Flags) -> None:
    for module, (training, off) in zip(model.modules(), flags, strict=True):
        module.training = training
        if hasattr(module, "_disable_adapters"):
            module._disable_adapters = off  # type: ignore[assignment]
