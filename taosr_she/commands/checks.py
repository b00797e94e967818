"""What a command can know of its output before its work: no answer is lost at the end for a wrong name."""

import tempfile
from pathlib import Path

from taosr_she.base.errors import UserError


def check_file(option: str, out: Path, *inputs: Path) -> None:
    """UserError unless pairs can be written to `out`: a known ending, a place to write, none of the inputs.

    A name without an ending is a Hugging Face dataset folder. `option` is what the user calls the output.
    """
    from taosr_she.data.formats import file_format
    from taosr_she.data.tables import is_dataset

    if not out.name:
        raise UserError(f"{option} {out}: is no name of a file")
    if out.suffix:
        file_format(out)
        if out.is_dir():
            raise UserError(f"{option} {out}: is a folder; name a file in it")
    elif out.exists() and not is_dataset(out):
        raise UserError(f"{option} {out}: exists and is not a Hugging Face dataset; a file needs an ending, as .jsonl")
    not_an_input(option, out, *inputs)
    not_an_input(f"the quarantine beside {option} {out},", quarantine_of(out), *inputs)
    check_place(option, out, out.parent)


def check_folder(option: str, out: Path) -> None:
    """UserError unless `out` is a folder to write in, or can become one."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{option} {out}: is a file; name a folder")
    check_place(option, out, out)


def check_place(option: str, out: Path, folder: Path) -> None:
    """UserError when the system does not let us write into `folder`, which need not be there yet. It is tried."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise UserError(f"{option} {out}: {there} is not a folder")
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise UserError(f"{option} {out}: nothing can be written in {there} ({error.strerror})") from error


def not_an_input(option: str, out: Path, *inputs: Path) -> None:
    """UserError when `out` is one of the inputs, under whatever name: it would be written over."""
    for path in inputs:
        if out.exists() and path.exists() and out.samefile(path):
            raise UserError(f"{option} {out}: is the input; name another place")


def quarantine_of(out: Path) -> Path:
    """Where the rejected rows of an input go: beside what is made of it."""
    return out.with_name(f"{out.name}.quarantine.jsonl")
