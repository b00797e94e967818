"""API keys: read from a file or the environment, compared in constant time, never logged."""

import hashlib
import hmac
import os
from collections.abc import Iterable
from pathlib import Path

from taosr_she.base.errors import UserError

SHORTEST = 16
"""Minimum number of characters of a key."""
VARIABLE, ADMIN_VARIABLE = "TAOSR_SHE_KEYS", "TAOSR_SHE_ADMIN_KEYS"
"""Environment variables with keys, separated by white space."""


class Keys:
    """A set of keys, kept as digests."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def have(self, key: str) -> bool:
        """Whether this is one of the keys. The time does not depend on how much of it is right, or on which it is."""
        given = _digest(key)
        return sum(hmac.compare_digest(given, digest) for digest in self._digests) > 0


def read_keys(file: Path | None, variable: str) -> Keys:
    """The keys of a file, one a line (empty lines and lines with # are left out), and of an environment variable.

    Raises UserError, which quotes no key, for a file that cannot be read or a key that is short or not ASCII.
    """
    found = [(variable, key) for key in os.environ.get(variable, "").split()]
    if file is not None:
        try:
            lines = [line.strip() for line in file.read_text("utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{file}: the keys cannot be read ({type(error).__name__})") from error
        found += [(str(file), line) for line in lines if line and not line.startswith("#")]
        if not any(where == str(file) for where, _ in found):
            raise UserError(f"{file}: has no key; write one a line")
    for where, key in found:
        if len(key) < SHORTEST or not key.isascii() or not key.isprintable() or " " in key:
            raise UserError(f"{where}: a key must have at least {SHORTEST} visible ASCII characters, without spaces")
    return Keys(key for _, key in found)


def shown_key(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The key of a request: `Authorization: Bearer KEY`, or the headers `api-key` or `x-api-key`; "" without one."""
    for name, value in headers:
        text = value.decode("latin-1").strip()
        if name.lower() in (b"api-key", b"x-api-key"):
            return text
        if name.lower() == b"authorization" and text[:7].lower() == "bearer ":
            return text[7:].strip()
    return ""


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
