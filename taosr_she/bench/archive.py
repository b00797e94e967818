"""A file of kept results: compressed JSON, the same bytes for the same content."""

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.base.files import replacing


def read_archive(file: Path) -> dict[str, Any]:
    """The kept results; none if there is no file. Raises UserError if the file is damaged."""
    if not file.is_file():
        return {}
    try:
        found: dict[str, Any] = json.loads(gzip.decompress(file.read_bytes()))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(f"{file}: damaged ({error}); restore it, or delete it to run its cells again") from error
    return found


def write_archive(file: Path, content: dict[str, Any]) -> None:
    """Write the content to the file, completely or not at all."""
    with replacing(file) as part:
        part.write_bytes(gzip.compress(json.dumps(content, separators=(",", ":")).encode(), mtime=0))


def finished(folder: Path) -> str | None:
    """The fingerprint of a finished stage; None if it has not run."""
    file = folder / "stage.json"
    return json.loads(file.read_text("utf-8"))["fingerprint"] if file.is_file() else None
