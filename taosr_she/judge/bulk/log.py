"""A file of JSON lines that is only appended to. A line that a kill or a power cut has damaged ends the file."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from taosr_she.base.files import dumps


class Log:
    """Lines of a file. `read` first, because it cuts off a damaged end; then `add`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Iterator[dict[str, Any]]:
        """The whole lines, up to the first that is damaged; nothing is left of the file from there on."""
        good = 0
        try:
            with self.path.open("rb") as file:
                for raw in file:
                    line = _parsed(raw)
                    if line is None:
                        break
                    good += len(raw)
                    yield line
        except FileNotFoundError:
            return
        if self.path.stat().st_size > good:
            os.truncate(self.path, good)

    def add(self, line: dict[str, Any], sync: bool) -> dict[str, Any]:
        """Append a line, and return it as it will be read. A kill does not harm it from then on; with `sync`, neither
        does a power cut."""
        raw = dumps(line).encode("utf-8", "backslashreplace") + b"\n"
        with self.path.open("ab") as file:
            file.write(raw)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        return cast(dict[str, Any], json.loads(raw))

    def clear(self) -> None:
        """Remove all lines."""
        self.path.unlink(missing_ok=True)


def _parsed(raw: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(raw) if raw.endswith(b"\n") else None
    except ValueError:
        return None
    return line if isinstance(line, dict) else None
