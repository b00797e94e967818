"""Work on models, split over the processes of a run. With one process, a function is only called.

A function that is split takes the objects of which every process keeps a copy (models, a tokenizer, a domain), then its
share, then options. It must be importable by name, and depends on nothing but its arguments, autocast and the
speed-ups, which hold in all processes.
"""

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from taosr_she.base.errors import UserError
from taosr_she.engine.speedups import Speedups, speedups, without
from taosr_she.ranks.group import Group, Lost

if TYPE_CHECKING:
    from taosr_she.ranks.replicas import Changes, Receiver, Sender

Result = TypeVar("Result")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Task:
    """What a process is to do: `call(*kept, share, *options)`."""

    call: Callable[..., Any]
    kept: tuple[int | None, ...]
    arguments: tuple[Any, ...]
    changes: "Changes"
    autocast: tuple[tuple[str, Any], ...]  # device types with autocast, and its type there
    off: tuple[str, ...]  # speed-ups


@dataclass(frozen=True)
class Failure:
    """What a process says when it could not do it."""

    text: str  # a line for the user, else a stack trace
    of_user: bool


@dataclass
class Lead:
    """Rank 0, leading the others."""

    group: Group
    sender: "Sender"
    busy: bool = False
    """Whether the others are at work. If this process ends then, they cannot be told."""


_lead: ContextVar[Lead | None] = ContextVar("lead", default=None)
_group: ContextVar[Group | None] = ContextVar("group", default=None)


def processes() -> int:
    """Number of processes that share the work; 1 except in rank 0 of a run that torchrun has started."""
    lead = _lead.get()
    return 1 if lead is None else lead.group.size


def local_processes() -> int:
    """Number of them on this machine."""
    lead = _lead.get()
    return 1 if lead is None else lead.group.local_size


def rank() -> int:
    """The number of this process."""
    group = _group.get()
    return 0 if group is None else group.rank


def this_group() -> Group | None:
    """The processes of this run, in any of them; None if it is the only one."""
    return _group.get()


def deal(items: Sequence[Item]) -> list[list[Item]]:
    """One share for each process: in turn, so that neighbours of similar length do not meet in one share."""
    n = processes()
    return [list(items[r::n]) for r in range(n)]


def cut(items: Sequence[Item]) -> list[list[Item]]:
    """As `deal`, in one piece each: for items that gain from their neighbours, such as pairs of one query."""
    n, length = processes(), len(items)
    return [list(items[length * r // n : length * (r + 1) // n]) for r in range(n)]


def split(call: Callable[..., Result], kept: Sequence[Any], shares: Sequence[Any], *options: Any) -> list[Result]:
    """`call(*kept, share, *options)` for each share, one in each process; the results in the order of the shares.

    There are `processes()` shares. Raises the UserError of any process, and Lost if one has ended.
    """
    lead = _lead.get()
    if lead is None:
        (share,) = shares
        return [call(*kept, share, *options)]
    return _work(lead, call, kept, [(share, *options) for share in shares])


def everywhere(call: Callable[..., Result], kept: Sequence[Any], *arguments: Any) -> list[Result]:
    """`call(*kept, *arguments)` in all processes; the results by rank."""
    lead = _lead.get()
    if lead is None:
        return [call(*kept, *arguments)]
    return _work(lead, call, kept, [arguments] * lead.group.size)


def add_gradients(model: Any) -> None:
    """Add the gradients that the other processes have computed to those of this model, and clear theirs.

    A weight without a gradient anywhere stays without: an optimizer leaves it alone, and would decay it for a zero."""
    if processes() > 1:
        everywhere(_add_gradients, [model], sorted(set().union(*everywhere(_with_gradient, [model]))))


def _with_gradient(model: Any) -> list[int]:
    return [place for place, weight in enumerate(model.parameters()) if weight.grad is not None]


def _add_gradients(model: Any, places: Sequence[int]) -> None:
    import torch

    group, every = _group.get(), list(model.parameters())
    assert group is not None
    weights = [every[place] for place in places]
    for weight in weights:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    group.add_up([w.grad for w in weights])
    if group.rank:
        model.zero_grad(set_to_none=True)


def _work(
    lead: Lead, call: Callable[..., Result], kept: Sequence[Any], arguments: Sequence[tuple[Any, ...]]
) -> list[Result]:
    group = lead.group
    changes, tensors = lead.sender.changes([thing for thing in kept if thing is not None])
    numbers = tuple(None if thing is None else lead.sender.number(thing) for thing in kept)
    lead.busy = True
    others = range(1, group.size)
    for r in others:
        group.send(Task(call, numbers, arguments[r], changes, _autocast(), _off()), r)
    if changes.objects:
        _raise_failure([group.receive(r) for r in others])
        group.broadcast(tensors)
    mine = _attempt(partial(call, *kept, *arguments[0]))
    results = [mine, *(_Done(message) for message in (group.receive(r) for r in others))]
    lead.busy = False
    if mine.error is not None:
        raise mine.error
    _raise_failure([done.result for done in results])
    return [done.result for done in results]


@dataclass(frozen=True)
class _Done:
    result: Any
    error: Exception | None = None


def _attempt(call: Callable[[], Any]) -> _Done:
    """Run the share of rank 0, in which nothing is split again.

    An error waits until the others have answered, so that no answer of theirs is taken for a later one.
    """
    token = _lead.set(None)
    try:
        return _Done(call())
    except Lost:
        raise
    except Exception as error:
        return _Done(None, error)
    finally:
        _lead.reset(token)


def _raise_failure(answers: Sequence[Any]) -> None:
    """Only the first one: the others are usually the same."""
    for answer in answers:
        if isinstance(answer, Failure):
            raise UserError(answer.text) if answer.of_user else RuntimeError(f"in another process:\n{answer.text}")


def follow(group: Group, receiver: "Receiver") -> None:
    """Work for rank 0 until it ends. Raises Lost if it has, or if another process has."""
    token = _group.set(group)
    try:
        while (task := group.receive(0, None)) is not None:
            if task.changes.objects or task.changes.gone:
                awaited = _told(partial(receiver.prepare, task.changes))
                if task.changes.objects:
                    group.send(awaited if isinstance(awaited, Failure) else None, 0)
                    if isinstance(awaited, Failure):
                        continue
                    group.broadcast(awaited)
            group.send(_told(partial(_do, task, receiver)), 0)
    finally:
        _group.reset(token)


def _do(task: Task, receiver: "Receiver") -> Any:
    import torch

    kept = [None if number is None else receiver.thing(number) for number in task.kept]
    with ExitStack() as stack:
        for device, dtype in task.autocast:
            stack.enter_context(torch.autocast(device, dtype=dtype))
        stack.enter_context(without(*task.off))
        return task.call(*kept, *task.arguments)


def _told(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Lost:
        raise
    except UserError as error:
        return Failure(str(error), True)
    except Exception:
        return Failure(traceback.format_exc(), False)


@contextmanager
def leading(group: Group, sender: "Sender") -> Iterator[None]:
    """Inside, work is split over the group, whose other processes follow. At the end they are let go."""
    lead = Lead(group, sender)
    tokens = _lead.set(lead), _group.set(group)
    try:
        yield
    finally:
        _lead.reset(tokens[0])
        _group.reset(tokens[1])
        sender.close()
        group.end()
        if not lead.busy:
            for r in range(1, group.size):
                _told(partial(group.send, None, r))


def _autocast() -> tuple[tuple[str, Any], ...]:
    import torch

    return tuple((d, torch.get_autocast_dtype(d)) for d in ("cpu", "cuda") if torch.is_autocast_enabled(d))


def _off() -> tuple[str, ...]:
    return tuple(f.name for f in fields(Speedups) if not getattr(speedups(), f.name))
