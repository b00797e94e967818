"""Fingerprints of content that are the same on every platform, in every process and with every hash seed."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.domain.pair import Pair

LENGTH = 16  # hex digits kept: with 64 bits, ids of ten million pairs still differ
_CHUNK = 1 << 20


def fingerprint_config(content: Any) -> str:
    """16 hex digits for content that JSON can represent. The order of keys does not matter, and tuples equal lists.

    Raises TypeError for other content (sets, objects), because its text is not stable.
    """
    return hashlib.sha256(_canonical(content)).hexdigest()[:LENGTH]


def fingerprint_file(path: Path) -> str:
    """16 hex digits for a file's bytes, or for a folder's relative file names and their bytes. UserError if missing."""
    if path.is_dir():
        files = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
        return fingerprint_config([[name, fingerprint_file(path / name)] for name in files])
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    return digest.hexdigest()[:LENGTH]


def fingerprint_pairs(pairs: Iterable[Pair]) -> str:
    """16 hex digits for pairs with all their fields; their order matters."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(_canonical(asdict(pair)) + b"\n")
    return digest.hexdigest()[:LENGTH]


def _canonical(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")
