"""A bulk job on a Ray cluster: actors hold the model and judge batches; this process reads, keeps and writes.

Parts, logs and output are those of a job without Ray, so a job that was begun in one way goes on in the other. Nothing
is shared between machines but the model: pairs go to the actors in messages, and judgements come back.

Ray's actors are used, not its data sets: their scheduler took 0.3 s for every batch where a call of an actor takes
milliseconds (docs/scale.md), and every batch has to come back to be kept anyway.
"""

import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from taosr_she import __version__
from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.judge.bulk.job import fingerprint_model
from taosr_she.judge.bulk.run import Begun, Order
from taosr_she.judge.bulk.work import Batch, Work
from taosr_she.judge.decision import Decision
from taosr_she.judge.judgement import judgement_columns
from taosr_she.judge.mode import Mode
from taosr_she.model.names import model_folder
from taosr_she.ranks.work import processes

LOCAL = "local"
"""The address that starts a Ray of its own on this machine, and ends it with the job."""
AHEAD = 2
"""Batches of an actor: one that it judges, and one that waits there, so that it need not wait for this process."""
TRIES = 3
"""How often a batch is given out again after its actor died. One that kills every actor must not do so for ever."""
_SECONDS = 5.0  # to reach the address
_LOOK = 10.0  # seconds between two looks at actors that have not begun


@dataclass(frozen=True)
class Asked:
    """What an actor needs to know to judge as this process would."""

    model: str  # a folder that has the same path on every machine, or a name on the hub
    weights: str  # its fingerprint here
    version: str  # of this program, here
    domain: Domain
    device: str
    decision: Decision
    mode: Mode
    max_new_tokens: int


def asked_of(order: Order) -> Asked:
    """What the actors of this order need to know."""
    model = path_everywhere(order.model)
    told = (model, fingerprint_model(order.model), __version__)
    return Asked(*told, order.domain, order.device, order.decision, order.mode, order.max_new_tokens)


class JudgeActor:
    """A process of the cluster with the model in it. It loads when it is first asked, also after a restart."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.policy: Any = None

    def load(self) -> int:
        """Load the model if that is not done; returns the number of this process. UserError if this machine has another
        model or another version of this program: its judgements would not be those of the job."""
        if self.policy is None:
            from taosr_she.model.policy import load_policy

            asked, here = self.asked, socket.gethostname()
            if __version__ != asked.version:
                raise UserError(f"{here}: has taosr-she {__version__}, and this is {asked.version}; install the same")
            if not Path(asked.model).is_dir() and os.path.isabs(asked.model):
                raise UserError(f"{here}: {asked.model}: no such folder; it must have the same path on every machine")
            if fingerprint_model(asked.model) != asked.weights:
                raise UserError(f"{here}: the files of {asked.model} differ from those where the job was started")
            self.policy = load_policy(asked.model, asked.device, "auto")
        return os.getpid()

    def judge(self, pairs: list[Pair]) -> list[dict[str, Any]]:
        """The columns of the judgements of pairs that are judged together."""
        from taosr_she.judge.pairs import greedy, judge_pairs

        self.load()
        asked = self.asked
        found = judge_pairs(
            self.policy, asked.domain, pairs, greedy(asked.max_new_tokens), len(pairs), decision=asked.decision,
            mode=asked.mode,
        )  # fmt: skip
        return [judgement_columns(asked.domain, judged) for judged in found.judgements]


@dataclass(frozen=True)
class Cluster:
    """The Ray cluster that this process is connected to."""

    address: str
    cpus: int
    gpus: int


def check_address(address: str) -> None:
    """UserError if Ray is not installed, if nothing answers at the address, or if this is one of several processes."""
    if processes() > 1:
        raise UserError("--ray: Ray starts the processes by itself; leave torchrun out")
    if find_spec("ray") is None:
        raise UserError("--ray: Ray is not installed; install the extra: pip install 'taosr-she[ray]'")
    if address.startswith("ray://"):
        raise UserError(
            f"--ray {address}: Ray's client is not supported; run this on a machine of the cluster with --ray auto"
        )
    if address in (LOCAL, "auto"):
        return
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UserError(f"--ray {address}: expected local, auto, or HOST:PORT of a cluster, such as 10.0.0.5:6379")
    try:
        socket.create_connection((host, int(port)), _SECONDS).close()
    except OSError as error:
        raise UserError(
            f"--ray {address}: does not answer ({error.strerror or error}); is Ray running there?"
        ) from None


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """Inside, this process is connected to the cluster; `local` starts one that ends here. UserError as
    `check_address`."""
    check_address(address)
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a job that nobody asked tells nobody
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address == LOCAL:
            ray.init(address="local", include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, ray.exceptions.RayError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"--ray {address}: cannot connect: {said}") from None
    try:
        has = ray.cluster_resources()
        yield Cluster(address, int(has.get("CPU", 0)), int(has.get("GPU", 0)))
    finally:
        ray.shutdown()


def device_of(cluster: Cluster, device: str) -> str:
    """The device of the actors: `auto` is cuda if the cluster has a GPU. UserError if it lacks what is asked."""
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device {device}: with --ray it is auto, cpu or cuda; Ray chooses which GPU")
    if device == "cuda" and not cluster.gpus:
        raise UserError(f"--device cuda: the cluster at --ray {cluster.address} has no GPU; use auto or cpu")
    return "cuda" if cluster.gpus and device == "auto" else "cpu" if device == "auto" else device


def judge_on_ray(
    begun: Begun,
    cluster: Cluster,
    asked: Asked,
    actors: int | None,
    cores: int,
    judged: Callable[[int, list[dict[str, Any]]], None],
    say: Callable[[str], None],
) -> None:
    """Judge all batches that are missing on `actors` actors with `cores` cores each; by default as many as the cluster
    has room for. On the device `cuda`, each has a GPU.

    `judged` receives the number of pairs judged so far and the columns of the batch just kept. UserError if the cluster
    has no room for an actor, for what an actor says about its machine, and if a batch has killed its actors.
    """
    import ray

    gpu = 1 if asked.device == "cuda" else 0
    room = min(cluster.cpus // cores, cluster.gpus if gpu else cluster.cpus)
    if not room:
        raise UserError(f"--actor-cores {cores}: no room for an actor; the cluster has {cluster.cpus} cores")
    kind = ray.remote(num_cpus=cores, num_gpus=gpu, max_restarts=-1, max_task_retries=TRIES)(JudgeActor)
    starting = {actor.load.remote(): actor for actor in (kind.remote(asked) for _ in range(actors or room))}
    work = Work(begun.parts, begun.reader)
    left = work.batches(begun.parts.cut.batch)
    given: dict[Any, tuple[Any, Batch]] = {}

    def give(actor: Any) -> None:
        if (batch := next(left, None)) is not None:
            given[actor.judge.remote(list(batch.pairs))] = (actor, batch)

    total, waited = len(starting), False
    while given or starting:
        awaited = [*given, *starting]
        done, _ = ray.wait(awaited, num_returns=1, timeout=_LOOK)
        if not done and not given and not waited:
            waited = True
            say(f"waiting for actors: {total - len(starting)} of {total} have the model")
        for answer in done:
            found = _answer(answer, asked)
            if answer in starting:
                actor = starting.pop(answer)
                say(f"actor {total - len(starting)} of {total} has the model (process {found})")
                for _ in range(AHEAD):
                    give(actor)
            else:
                actor, batch = given.pop(answer)
                work.keep(batch, found)
                judged(work.count, found)
                give(actor)
        if begun.parts.complete:  # actors for which there was never room
            return


def _answer(reference: Any, asked: Asked) -> Any:
    """What an actor has answered. Its UserError is ours; any other error of it is a mistake of this program."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise UserError(str(error.cause)) from None
        raise
    except ray.exceptions.RayActorError as error:
        raise UserError(
            f"an actor with {asked.model} died {TRIES + 1} times over one batch, or could not be started: "
            f"{' '.join(str(error).split())[:300]}; has each enough memory?"
        ) from None


def path_everywhere(model: str) -> str:
    """The model as actors must name it: an absolute folder, or a name on the hub."""
    folder = model_folder(model)
    return str(Path(folder).resolve()) if Path(folder).is_dir() else folder
