"""Metrics for a tracker: TensorBoard, trackio or wandb get the rows that a stage has written.

The files of a stage (`metrics.jsonl`, `watch.jsonl`) are the source, and `Follower` reads them as they grow. So a
tracker says what the files say, training knows nothing of it, and a run that was killed is told again from its first
row in its next sitting, without the rows that the training repeats. A new tracker is one class and a line in TRACKERS.
"""

import importlib.util
import json
import math
import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Literal, Protocol

import yaml

from taosr_she.base.errors import UserError

TrackerName = Literal["none", "tensorboard", "trackio", "wandb"]
FOLDER = "track"
"""Folder inside the run folder where TensorBoard and wandb write."""
FILES = {"metrics.jsonl": "", "watch.jsonl": "development/"}
"""Files of rows with a `step` -> prefix of the names of their numbers."""


@dataclass(frozen=True)
class Tracked:
    """What a tracker gets before the first row."""

    folder: Path  # of the run
    run: str  # name of the recipe
    stage: str
    fingerprint: str  # of the stage: another seed or setting is another one
    settings: dict[str, Any]  # the stage as the run folder's recipe.yaml shows it, so without secrets


class Tracker(Protocol):
    """Sends one stage to one tracker."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Send the numbers of a step; steps never decrease."""

    def close(self) -> None:
        """No more rows follow."""


class TensorBoard:
    """Event files in `track/tensorboard/<stage>`, for `tensorboard --logdir <run folder>/track/tensorboard`."""

    def __init__(self, what: Tracked) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = what.folder / FOLDER / "tensorboard" / what.stage
        shutil.rmtree(folder, ignore_errors=True)  # what an earlier sitting told is told again
        self._writer = SummaryWriter(str(folder))
        self._writer.add_text("settings", f"```yaml\n{yaml.safe_dump(what.settings, sort_keys=False)}```")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class Trackio:
    """A local project of the recipe's name, for `trackio show`; TRACKIO_DIR sets its folder, see trackio."""

    def __init__(self, what: Tracked) -> None:
        import trackio

        self._trackio = trackio
        name = f"{what.stage}-{what.fingerprint[:8]}"
        try:
            known = list(trackio.Api().runs(what.run))
        except ValueError:  # no such project yet
            known = []
        for run in known:
            if run.name == name:
                run.delete()  # what an earlier sitting told is told again
        with redirect_stdout(StringIO()):  # its greeting, in colours, would cut through the run's own lines
            trackio.init(
                project=what.run, name=name, group=what.stage, config=what.settings, embed=False, auto_log_gpu=False,
                auto_log_cpu=False,
            )  # fmt: skip

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._trackio.log(dict(values), step=step)

    def close(self) -> None:
        with redirect_stdout(StringIO()):
            self._trackio.finish()


class Wandb:
    """Offline in `track/wandb`, for `wandb sync`; WANDB_MODE=online sends immediately, see wandb."""

    def __init__(self, what: Tracked) -> None:
        import wandb

        folder = what.folder / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        run_id = f"{what.stage}-{what.fingerprint}"
        for told in folder.glob(f"wandb/offline-run-*-{run_id}"):
            shutil.rmtree(told)  # what an earlier sitting told is told again
        self._run = wandb.init(
            project=what.run, name=what.stage, id=run_id, resume="allow", dir=str(folder), config=what.settings,
            mode=os.environ.get("WANDB_MODE", "offline"),  # type: ignore[arg-type] # wandb checks it
            settings=wandb.Settings(silent=True, console="off"),
        )  # fmt: skip

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


TRACKERS: dict[str, Callable[[Tracked], Tracker]] = {"tensorboard": TensorBoard, "trackio": Trackio, "wandb": Wandb}


LOOK = {
    "tensorboard": "tensorboard --logdir {folder}/track/tensorboard",
    "trackio": "trackio show --project {run}",
    "wandb": "wandb sync {folder}/track/wandb/offline-run-*",
}
"""How to view what a tracker received."""


def how_to_look(name: TrackerName, folder: Path, run: str) -> str:
    """One line for the start of a run."""
    command = LOOK[name].format(folder=shlex.quote(str(folder)), run=shlex.quote(run))
    return f"metrics go to {name}: {command}"


def check_tracker(name: TrackerName) -> None:
    """Raises UserError if the package of a tracker is missing: before the run, not in its third stage."""
    if name == "none":
        return
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:  # without origin: a folder of that name, as wandb leaves one behind
        raise UserError(f"track: {name} is not installed; pip install 'taosr-she[track]', or say track: none")


class Follower:
    """Reads the rows that were added to the files of a stage and sends them to the tracker, in order of their steps.

    The tracker is made with the first row: a stage without metrics leaves no empty run behind.
    """

    def __init__(self, stage: Path, make: Callable[[], Tracker]) -> None:
        self._stage, self._make = stage, make
        self._tracker: Tracker | None = None
        self._read = dict.fromkeys(FILES, 0)  # bytes

    def follow(self) -> None:
        """Send what is new. The first call comes when the stage has written a row of its own: by then, the files of a
        resumed stage have been cut back."""
        rows = [(int(row["step"]), flat(row, prefix)) for name, prefix in FILES.items() for row in self._new(name)]
        for step, values in sorted(rows, key=lambda row: row[0]):
            if self._tracker is None:
                self._tracker = self._make()
            self._tracker.write(step, values)

    def close(self) -> None:
        if self._tracker is not None:
            self._tracker.close()

    def _new(self, name: str) -> Iterator[dict[str, Any]]:
        path = self._stage / name
        if not path.is_file():
            return
        with path.open("rb") as file:
            file.seek(self._read[name])
            for line in file:
                if not line.endswith(b"\n"):
                    break  # being written
                self._read[name] += len(line)
                yield json.loads(line)


def flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a row by name: `sources/query/human` for nested ones, the length of a list; no texts, no step.

    >>> flat({"step": 3, "reward": 0.5, "sources": {"query": {"human": 1.0}}, "warnings": ["a"], "stage": "x"})
    {'reward': 0.5, 'sources/query/human': 1.0, 'warnings': 1.0}
    """
    found: dict[str, float] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}/")
        elif isinstance(value, list):
            found[prefix + name] = float(len(value))
        elif isinstance(value, int | float) and math.isfinite(value) and name != "step":
            found[prefix + name] = float(value)
    return found


@contextmanager
def followed(tracker: TrackerName, stage: Path, what: Callable[[], Tracked]) -> Iterator[Callable[[], None]]:
    """Inside the block, the given function sends what is new in the stage's folder to the tracker; so does the end."""
    if tracker == "none":
        yield lambda: None
        return
    follower = Follower(stage, lambda: TRACKERS[tracker](what()))
    try:
        yield follower.follow
        follower.follow()
    finally:
        follower.close()
