"""What a bulk job judges, by what and how: the record that ties a folder of parts to it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.base.files import read_object, write_json
from taosr_she.data.fingerprint import fingerprint_config, fingerprint_file
from taosr_she.data.join import find_join
from taosr_she.data.read import folder_files
from taosr_she.data.tables import is_dataset
from taosr_she.domain.domain import Domain
from taosr_she.judge.decision import DECISION_FILE
from taosr_she.model.domain_file import difference
from taosr_she.model.folder import base_of, is_adapter
from taosr_she.model.names import model_folder

RECORD = "_job.json"
"""Name of the record in the folder of parts. Readers of folders skip names that start with `_`."""
VERSION = 2
"""Version of the folder of parts. Raise it when a program of before could not go on in it."""


@dataclass(frozen=True)
class Job:
    """A job. Two jobs that are equal give the same output."""

    pairs: str  # the input, as the user wrote it
    input: str  # fingerprint of its content
    model: str  # as the user wrote it
    weights: str  # fingerprint of the model's files
    domain: Domain
    options: Mapping[str, Any]  # option as on the command line -> its value, as JSON has it

    def record(self) -> dict[str, Any]:
        """The job as JSON."""
        told = {name: value for name, value in asdict(self).items() if name != "domain"}
        return {"version": VERSION, **told, "domain": self.domain.model_dump(mode="json")}


@dataclass(frozen=True)
class Checked:
    """What the first reading of the input has found. It is not repeated."""

    pairs: int  # usable pairs
    rejected: int  # rows in quarantine
    layout: str
    columns: dict[str, list[str]]  # extra columns of the output with the types of their values, see `Columns`


def fingerprint_input(path: Path) -> str:
    """16 hex digits for the content of a file, or of the files of a folder that are read. UserError if missing."""
    if not path.is_dir() or is_dataset(path) or find_join(path):
        if path.exists() and not path.is_dir() and not path.is_file():
            raise UserError(f"{path}: is a pipe or device, and judging reads its input twice; save it as a file first")
        return fingerprint_file(path)
    return fingerprint_config([[file.name, fingerprint_file(file)] for file in folder_files(path)])


def fingerprint_model(name: str) -> str:
    """16 hex digits for the files of a model folder that determine what the model writes.

    The model card does not, and the decision rule is an option of the job. A model on the hub is told by its name.
    """
    folder = Path(model_folder(name))
    if not folder.is_dir():
        return fingerprint_config(["hub", name])
    base = [fingerprint_model(base_of(name))] if is_adapter(name) else []
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    kept = [n for n in names if n not in ("README.md", DECISION_FILE) and not n.startswith(".")]
    return fingerprint_config([base, [[n, fingerprint_file(folder / n)] for n in kept]])


def recorded(folder: Path, job: Job) -> Checked | None:
    """What the first reading has found, if the folder holds parts of this job; None if it holds no job.

    UserError, with what differs and the fix, if the job is another one.
    """
    if not (folder / RECORD).is_file():
        return None
    if what := other_job(folder, job):
        raise UserError(
            f"{folder}: holds judgements of another job: {what}; to go on, run the job as it was begun; to start over, "
            "delete this folder; to keep both, name another --out"
        )
    return Checked(**read_object(folder / RECORD)["checked"])


def record(folder: Path, job: Job, checked: Checked) -> None:
    """Write the record, after the first reading: from then on, the folder belongs to this job."""
    write_json(folder / RECORD, job.record() | {"checked": asdict(checked)})


def finished(folder: Path) -> bool:
    """Whether the output was made from the parts, which are then on their way out."""
    return bool(read_object(folder / RECORD).get("finished"))


def record_finished(folder: Path) -> None:
    """Record that the output was made: a kill from here on must not lead to judging again."""
    write_json(folder / RECORD, read_object(folder / RECORD) | {"finished": True})


def other_job(folder: Path, job: Job) -> str | None:
    """How the job in the folder differs from this one; None if it is the same."""
    known, now = read_object(folder / RECORD), job.record()
    if known.get("version") != now["version"] or "checked" not in known:
        return "its record is damaged, or of another version of this program"
    if known["input"] != now["input"]:
        same = known["pairs"] == now["pairs"]
        return f"the content of {job.pairs} has changed" if same else f"it judges {known['pairs']}, not {job.pairs}"
    if known["weights"] != now["weights"]:
        same = known["model"] == now["model"]
        return f"the files of {job.model} have changed" if same else f"its model is {known['model']}, not {job.model}"
    try:
        where = difference(Domain.model_validate(known["domain"]), job.domain)
    except ValueError:  # a domain of another version
        where = "settings that this version does not know"
    if where is not None:
        return f"its domain differs in {where}"
    for option in {**known["options"], **now["options"]}:
        before, here = (told["options"].get(option) for told in (known, now))
        if before != here:
            return f"{option} was {_shown(before)}, and is now {_shown(here)}"
    return None


def _shown(value: Any) -> str:
    return "not given" if value is None else str(value)
