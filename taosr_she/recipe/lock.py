"""One process in a run folder at a time: two would take each other's files away."""

import errno
import fcntl
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from taosr_she.base.errors import UserError
from taosr_she.base.files import dumps

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
"""What some network file systems say. They are no reason not to work."""
LOCK = "run.lock"
"""Name of the file in the run folder. The file stays; what matters is whether a living process has locked it."""


@contextmanager
def only_process(folder: Path, name: str = LOCK, other: str = "another folder with out=") -> Iterator[None]:
    """Inside, no other process runs in this folder. Raises UserError that names the one that does.

    `name` is the name of the file, `other` what the user can name instead of this folder.

    The system lets go of the lock when its process ends, however it ends, so a killed run leaves nothing to clear away.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("a+", encoding="utf-8") as file:  # "w" would wipe out what the other one has written
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UserError(f"{folder} is in use by {_holder(file.read())}; wait for it, or name {other}") from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            logging.getLogger(__name__).warning("%s: no locks on this file system; start no second run in it", folder)
        file.truncate(0)
        since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        file.write(dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}) + "\n")
        file.flush()
        yield


def _holder(text: str) -> str:
    try:
        known = json.loads(text)
        return f"process {known['pid']} on {known['host']} since {known['since']}"
    except (ValueError, TypeError, KeyError):
        return "another process"
