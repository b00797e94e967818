"""Atomic files and valid JSON. All outputs and state files are written here.

A file is written under a temporary name in the same folder, synced and renamed. After a kill or a power cut, the path
therefore holds either the old file or the new one. A device, a pipe or the terminal is written to directly and stays
what it is; a link is followed.
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
"""Ending of an unfinished file or folder. The next process overwrites what a killed one left behind."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, then move what was written to `path`. A missing folder is created.

    If the body raises, `path` stays as it was and no temporary file is left. An existing file keeps its permissions.
    OSErrors name `path`.
    """
    existing = _stat(path)
    if existing is not None and stat.S_ISDIR(existing.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    fd = None if existing is None else _standard_stream(existing)
    if existing is not None and (fd is not None or not stat.S_ISREG(existing.st_mode)):
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
            if existing is not None:
                part.chmod(stat.S_IMODE(existing.st_mode))
            part.replace(real)
            sync(real.parent)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Like `replacing`, for a folder: the body fills an empty folder, which then replaces `folder`.

    If the body raises, `folder` stays as it was and no partial folder remains. OSErrors of a full disk name the partial
    folder.
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
        folder.rename(old)  # first, so that a kill during the deletion leaves no partial folder
    part.rename(folder)
    sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def open_text(path: Path, errors: str = "strict") -> Iterator[IO[str]]:
    """`replacing` as an open UTF-8 file whose line ends stay as written.

    `errors="backslashreplace"` is for JSON files: it writes lone surrogates as \\udXXX, which JSON allows.
    """
    with replacing(path) as part, part.open("w", encoding="utf-8", errors=errors, newline="") as file:
        yield file


def write_text(path: Path, text: str) -> None:
    """Write the whole file, UTF-8."""
    with open_text(path) as file:
        file.write(text)


def write_json(path: Path, content: Any) -> None:
    """One JSON document, indented, for people and machines."""
    with open_text(path, "backslashreplace") as file:
        file.write(dumps(content, indent=1) + "\n")


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """One JSON document per line."""
    with open_text(path, "backslashreplace") as file:
        file.writelines(dumps(row) + "\n" for row in rows)


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if the file is missing or damaged: a power cut leaves empty files."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def dumps(content: Any, indent: int | None = None) -> str:
    """Standard JSON: NaN and the infinities, which it does not allow, become null. Text stays readable."""
    try:
        return json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError:  # rare, so the copy is made only here
        return json.dumps(_finite(content), indent=indent, ensure_ascii=False, allow_nan=False)


def sha256(path: Path, update: Callable[[int, int], None] = lambda done, size: None) -> str:
    """The SHA-256 of a file in hexadecimal. `update` receives the number of bytes read so far and the file size."""
    found, done, size = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            found.update(chunk)
            done += len(chunk)
            update(done, size)
    return found.hexdigest()


def sync(path: Path) -> None:
    """Return once the file, or the folder's list of names, is on the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems have nothing to sync
            raise
    finally:
        os.close(fd)


def sync_tree(folder: Path) -> None:
    """`sync` everything in a folder, before the folder is renamed to its final name."""
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


def _standard_stream(existing: os.stat_result) -> int | None:
    """1 or 2 if the file is our own standard output or error: replacing it would lose what is printed."""
    for fd in (1, 2):
        with suppress(OSError):  # closed
            if os.path.samestat(os.fstat(fd), existing):
                return fd
    return None


def _stream(path: Path, fd: int | None) -> IO[bytes]:
    sys.stdout.flush()
    # Not open(path, "wb"): that would ask to create the file, which the system forbids for pipes in shared folders.
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
