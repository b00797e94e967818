"""Errors that the user can fix, shown as one line and never as a stack trace; and errors of a full disk."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
"""Error numbers of a disk that cannot be written any more."""


class UserError(Exception):
    """Bad input from the user. The message is one line that names the file, row or option, and the fix."""


class Stopped(Exception):
    """The user pressed Ctrl-C. The message is one line: what is kept, and how to continue."""


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn any library's error about an unwritable disk into an OSError that names `path`.

    torch reports a position in its archive instead, and safetensors puts the system's error number into its text.
    """
    try:
        yield
    except Exception as error:
        number = _system_error(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def _system_error(error: BaseException | None) -> int | None:
    while error is not None:
        quoted = re.search(r"\(os error (\d+)\)", str(error))
        number = error.errno if isinstance(error, OSError) else int(quoted[1]) if quoted else None
        if number in UNWRITABLE:
            return number
        error = error.__cause__ or error.__context__
    return None
