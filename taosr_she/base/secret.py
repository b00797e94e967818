"""URLs without their secrets. Every URL that is printed or written is masked here."""

import re
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

MASK = "***"
# After the scheme: optionally user and password, which may contain spaces and quotes; then everything up to a space.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,40}://)((?:[^/@\s'\"<>]*:[^/@\n]*@)?[^\s'\"<>]*)")


def masked(text: str) -> str:
    """`text` with user, password, query and fragment of every URL in it replaced by `***`.

    A password can contain any character, so in doubtful cases too much is replaced.

    >>> masked("cannot reach postgresql+psycopg://ann:secret@host:5432/people?sslpassword=x")
    'cannot reach postgresql+psycopg://***@host:5432/people?***'
    """
    return _URL.sub(lambda url: url[1] + _without_secrets(url[2]), text)


def is_masked(url: str) -> bool:
    """Whether this URL was written by `masked` and therefore cannot be used."""
    return f"{MASK}@" in url or url.endswith(f"?{MASK}")


def masked_values(content: Any) -> Any:
    """`masked` for every text in dicts (keys included), lists and tuples (which become lists)."""
    if isinstance(content, dict):
        return {masked_values(key): masked_values(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [masked_values(value) for value in content]
    return masked(content) if isinstance(content, str) else content


def without_secrets_of(url: str, text: str) -> str:
    """`text`, which may quote parts of `url`, without the URL's user, password and query values."""
    try:
        parts = urlsplit(url)
        secrets = [parts.password or "", parts.username or ""]
        secrets += [value for _, value in parse_qsl(parts.query) if len(value) > 2]
    except ValueError:  # not a URL: a driver then quotes all of it or nothing
        secrets = []
    for secret in sorted({s for value in secrets for s in (value, unquote(value)) if s}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)
    return masked(text)


def _without_secrets(rest: str) -> str:
    """Mask the part of a URL after `://`."""
    secret, at, address = rest.rpartition("@")
    address = re.sub(r"[?#].+", f"?{MASK}", address, count=1, flags=re.DOTALL)
    return f"{MASK}@{address}" if at and secret else at + address
