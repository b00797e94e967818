"""The one exception that is the user's to mend, shown as one line, never as a stack trace; and a disk that is full."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
"""What the system says of a disk that takes no more."""


class UserError(Exception):
    """Bad input from the user. The message is one line that names the file, row or option, and the mend."""


class Stopped(Exception):
    """The user pressed Ctrl-C. The message is one line: what is kept, and how to go on."""


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """Inside, a disk that cannot be written is an OSError that names `place`, whatever a library makes of it.

    torch says where in its archive it stood, and safetensors puts the system's number into its text.
    """
    try:
        yield
    except Exception as error:
        number = _system_error(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(place)) from error


def _system_error(error: BaseException | None) -> int | None:
    while error is not None:
        said = re.search(r"\(os error (\d+)\)", str(error))
        number = error.errno if isinstance(error, OSError) else int(said[1]) if said else None
        if number in UNWRITABLE:
            return number
        error = error.__cause__ or error.__context__
    return None
