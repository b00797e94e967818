"""What the folder of a stage says about itself: who made it, is it complete, are its files as they were written."""

import hashlib
import shutil
from collections.abc import Iterable
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.base.files import read_object

STARTED = "started.json"
"""Written when a stage begins: the fingerprint of what is being made here."""
DONE = "stage.json"
"""Written last when a stage is complete: fingerprint, time, summary, and every file with its size and SHA-256."""

KNOWN = (
    STARTED, DONE, "*.part", "metrics.jsonl", "checkpoint", "demonstration.jsonl", "training.jsonl",
    "development.jsonl", "test.jsonl", "demonstrations.jsonl", "annotations.jsonl", "probe.jsonl", "held_out.jsonl",
    "truth.jsonl", "quarantine.jsonl", "sft.json", "attempts.json", "trainer", "state.pt", "reference", "base",
    "merged", "rollouts", "responses", "teacher", "watch.jsonl", "online.jsonl", "start_check.json", "examiners.json",
    "held_out_verdicts.json", "selected.jsonl", "dropped.jsonl", "selection.json", "selection.md", "results.json",
    "predictions-*.jsonl", "development-*.jsonl", ".DS_Store", ".nfs*",
)  # fmt: skip
"""All file names in the folder of a stage, of any kind, whether it was completed or not. A folder with a name in it
that is neither among these nor in its own record is not deleted."""

CARD = "checkpoint/README.md"
"""The model card, which a later evaluation may add to: neither compared nor foreign."""
LATER = (CARD, "checkpoint/decision.json")
"""Files that a later evaluation adds to a checkpoint; the second is the decision rule that it chose."""
_CHUNK = 1 << 20


def damaged_records(folder: Path) -> list[str]:
    """Names of the records that are there and cannot be read."""
    return [name for name in (STARTED, DONE) if (folder / name).exists() and not read_object(folder / name)]


def check_ours(folder: Path) -> None:
    """Raises UserError when clearing the folder would delete what no stage of a run has written."""
    mend = "move it away, or name another run folder with out="
    if folder.is_symlink() or not folder.is_dir():
        raise UserError(f"{folder}: a stage would have its folder here, and this is none; {mend}")
    names = sorted(path.name for path in folder.iterdir())
    if names and not {STARTED, DONE} & set(names):
        raise UserError(f"{folder}: not the folder of a stage (neither {STARTED} nor {DONE} in it); {mend}")
    files = read_object(folder / DONE).get("files")
    written = {Path(name).parts[0] for name in files} if isinstance(files, dict) else set()
    foreign = [name for name in names if name not in written and not any(fnmatch(name, known) for known in KNOWN)]
    if isinstance(files, dict):
        there = (path.relative_to(folder).as_posix() for path in _files(folder / "checkpoint"))
        foreign += [name for name in there if name not in files and name not in LATER]
    if foreign:
        raise UserError(f"{folder} would be cleared to run its stage anew, but {foreign[0]} in it is not ours; {mend}")


def clear(folder: Path) -> None:
    """Delete the folder of a stage. Raises UserError when there is anything in it that is not ours."""
    check_ours(folder)
    shutil.rmtree(folder)


def record_files(folder: Path) -> dict[str, list[Any]]:
    """Path inside the folder -> [size in bytes, SHA-256] of every file but the records."""
    return {
        path.relative_to(folder).as_posix(): [path.stat().st_size, _sha256(path)]
        for path in _files(folder)
        if path.name not in (STARTED, DONE) and path not in [folder / name for name in LATER]
    }


def verify_files(folder: Path, stage: str) -> None:
    """Raises UserError when a file of a finished stage is missing or not what the stage has written."""
    files = read_object(folder / DONE).get("files")
    for name, facts in files.items() if isinstance(files, dict) else ():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path} is missing, and a stage reads it: run again with --redo {stage}")
        if [path.stat().st_size, _sha256(path)] != facts:
            raise UserError(
                f"{path} is damaged or edited since stage '{stage}' wrote it: run again with --redo {stage}"
            )


def _files(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _sha256(path: Path) -> str:
    facts = path.stat()
    return _digest(path, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=10_000)  # several stages read the same data and the same start
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
