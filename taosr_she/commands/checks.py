"""Checks of a command's output path before the work starts, so no result is lost at the end to a wrong name."""

import tempfile
from pathlib import Path

from taosr_she.base.errors import UserError


def check_file(option: str, out: Path, *inputs: Path) -> None:
    """UserError unless pairs can be written to `out`: it needs a known ending and a writable folder, and is no input.

    A name without an ending is a Hugging Face dataset folder. `option` names the output in the message.
    """
    from taosr_she.data.formats import file_format
    from taosr_she.data.tables import is_dataset

    if not out.name:
        raise UserError(f"{option} {out}: is not a file name")
    if out.suffix:
        file_format(out)
        if out.is_dir():
            raise UserError(f"{option} {out}: is a folder; name a file in it")
    elif out.exists() and not is_dataset(out):
        raise UserError(f"{option} {out}: exists and is no Hugging Face dataset; a file needs an ending such as .jsonl")
    not_an_input(option, out, *inputs)
    not_an_input(f"the quarantine beside {option} {out},", quarantine_of(out), *inputs)
    check_place(option, out, out.parent)


def check_parts(option: str, out: Path, *inputs: Path) -> None:
    """UserError unless a folder of parts can be written to `out`: its ending names the format of the parts."""
    from taosr_she.data.formats import file_format
    from taosr_she.judge.bulk.job import RECORD

    file_format(out)
    if out.exists() and not out.is_dir():
        raise UserError(f"{option} {out}: is a file; with --parts it is a folder, so name another or leave --parts out")
    if out.is_dir() and any(out.iterdir()) and not (out / RECORD).is_file():
        raise UserError(f"{option} {out}: is a folder with other files in it; name another")
    not_an_input(option, out, *inputs)
    check_place(option, out, out)


def check_tool_file(option: str, out: Path, name: str, *inputs: Path) -> None:
    """UserError unless ratings in the format `name` can be written to `out`, under one of the format's endings."""
    from taosr_she.data.tools import ENDINGS

    if out.suffix.lower() not in ENDINGS[name]:
        raise UserError(f"{option} {out}: --format {name} writes a file that ends in {' or '.join(ENDINGS[name])}")
    if out.is_dir():
        raise UserError(f"{option} {out}: is a folder; name a file in it")
    not_an_input(option, out, *inputs)
    check_place(option, out, out.parent)


def check_folder(option: str, out: Path) -> None:
    """UserError unless `out` is a folder to write in, or can become one."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{option} {out}: is a file; name a folder")
    check_place(option, out, out)


def check_place(option: str, out: Path, folder: Path) -> None:
    """UserError if `folder`, which need not exist yet, cannot be written to. Tried with a temporary file."""
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise UserError(f"{option} {out}: {existing} is not a folder")
    try:
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        raise UserError(f"{option} {out}: cannot write to {existing} ({error.strerror})") from error


def not_an_input(option: str, out: Path, *inputs: Path) -> None:
    """UserError if `out` is one of the inputs, under whatever name, because it would be overwritten."""
    for path in inputs:
        if path.is_dir() and path.resolve() in out.resolve().parents:
            raise UserError(f"{option} {out}: is in the folder of the input; choose another path")
        if out.exists() and path.exists() and out.samefile(path):
            raise UserError(f"{option} {out}: is the input; choose another path")


def quarantine_of(out: Path) -> Path:
    """The file for the rejected rows of an input: beside the output."""
    from taosr_she.data.read import QUARANTINE

    return out.with_name(f"{out.name}{QUARANTINE}")
