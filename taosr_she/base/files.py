"""Files that appear whole or not at all, and JSON that is JSON. All outputs and state files are written here.

A file is written beside its place, synced and renamed, so that a kill or a power cut leaves the old one or the new one.
What is no regular file (a device, a pipe, the terminal) is written through and stays what it is; a link is followed.
"""

import errno
import hashlib
import io
import json
import math
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from taosr_she.base.errors import disk_errors

PART = ".part"
"""Ending of a file or folder that is not finished. What a killed process left is written over by the next one."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Inside, a path to write to; afterwards `path` holds what was written. Its folder is made where it is missing.

    When the body raises, `path` stays as it was and nothing is left beside it. An existing file keeps its permissions.
    OSErrors name `path`.
    """
    there = _stat(path)
    if there is not None and stat.S_ISDIR(there.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    fd = None if there is None else _standard_stream(there)
    if there is not None and (fd is not None or not stat.S_ISREG(there.st_mode)):
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder, path.name)
            with _errors_of(path, part):
                yield part
                with part.open("rb") as source, _stream(path, fd) as target:
                    shutil.copyfileobj(source, target)
        return
    real = Path(os.path.realpath(path))
    part = real.with_name(real.name + PART)
    try:
        with _errors_of(path, part):
            real.parent.mkdir(parents=True, exist_ok=True)
            yield part
            sync(part)
            if there is not None:
                part.chmod(stat.S_IMODE(there.st_mode))
            part.replace(real)
            sync(real.parent)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """The same for a folder: inside, an empty one to fill; afterwards it is `folder`, in place of what was there.

    When the body raises, `folder` stays as it was and nothing is left beside it. OSErrors of a full disk name the
    folder beside it.
    """
    part, old = (folder.with_name(folder.name + ending) for ending in (PART, ".old" + PART))
    for left in (part, old):
        shutil.rmtree(left, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        with disk_errors(part):
            yield part
            sync_tree(part)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    if folder.exists():
        folder.rename(old)  # a kill while it is deleted must not leave half of it under its name
    part.rename(folder)
    sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def open_text(path: Path, errors: str = "strict") -> Iterator[IO[str]]:
    """`replacing` as an open UTF-8 file whose line ends stay as written.

    `errors="backslashreplace"` writes half characters as \\udXXX, which is what JSON calls them: for files of JSON.
    """
    with replacing(path) as part, part.open("w", encoding="utf-8", errors=errors, newline="") as file:
        yield file


def write_text(path: Path, text: str) -> None:
    """The whole file in one go, UTF-8."""
    with open_text(path) as file:
        file.write(text)


def write_json(path: Path, content: Any) -> None:
    """One JSON document, indented, for people and machines."""
    with open_text(path, "backslashreplace") as file:
        file.write(dumps(content, indent=1) + "\n")


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """One JSON document a line."""
    with open_text(path, "backslashreplace") as file:
        file.writelines(dumps(row) + "\n" for row in rows)


def dumps(content: Any, indent: int | None = None) -> str:
    """JSON as the standard has it: null for NaN and the infinities, which JSON cannot hold. Text is left readable."""
    try:
        return json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError:  # rare, so the copy is made only then
        return json.dumps(_finite(content), indent=indent, ensure_ascii=False, allow_nan=False)


def sha256(path: Path, update: Callable[[int, int], None] = lambda done, size: None) -> str:
    """The SHA-256 of a file in hexadecimal; `update` hears of the bytes that are read and of all there are."""
    found, done, size = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            found.update(chunk)
            done += len(chunk)
            update(done, size)
    return found.hexdigest()


def sync(path: Path) -> None:
    """Return when the file, or the list of names in the folder, is on the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems have nothing to sync
            raise
    finally:
        os.close(fd)


def sync_tree(folder: Path) -> None:
    """`sync` for all that is in a folder, before it is renamed into its place."""
    for path in folder.rglob("*"):
        if path.is_file() or path.is_dir():
            sync(path)
    sync(folder)


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _standard_stream(there: os.stat_result) -> int | None:
    """1 or 2 when it is where our own output goes: replacing that file would lose what is printed."""
    for fd in (1, 2):
        with suppress(OSError):  # closed
            if os.path.samestat(os.fstat(fd), there):
                return fd
    return None


def _stream(path: Path, fd: int | None) -> IO[bytes]:
    sys.stdout.flush()
    # Not "wb": that would ask to create, which the system forbids for pipes in shared folders.
    return io.FileIO(os.dup(fd) if fd is not None else os.open(path, os.O_WRONLY), "wb")


@contextmanager
def _errors_of(path: Path, part: Path) -> Iterator[None]:
    try:
        with disk_errors(path):
            yield
    except OSError as error:
        if error.errno is None or error.filename != str(part):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
