"""URLs without their secrets. Whatever is printed or written about a URL goes through here."""

import re
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

MASK = "***"
# Behind the scheme: perhaps a user and a password, which may hold blanks and quotes; then all up to the next blank.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,40}://)((?:[^/@\s'\"<>]*:[^/@\n]*@)?[^\s'\"<>]*)")


def masked(text: str) -> str:
    """`text` with user, password, query and fragment of every URL in it replaced by `***`.

    A password may hold any character, so where in doubt too much is replaced.

    >>> masked("cannot reach postgresql+psycopg://ann:secret@host:5432/people?sslpassword=x")
    'cannot reach postgresql+psycopg://***@host:5432/people?***'
    """
    return _URL.sub(lambda url: url[1] + _without_secrets(url[2]), text)


def is_masked(url: str) -> bool:
    """Whether this is what `masked` made of a URL, which therefore leads nowhere."""
    return f"{MASK}@" in url or url.endswith(f"?{MASK}")


def masked_values(content: Any) -> Any:
    """The same for every text, keys included, in dicts, lists and tuples (which become lists)."""
    if isinstance(content, dict):
        return {masked_values(key): masked_values(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [masked_values(value) for value in content]
    return masked(content) if isinstance(content, str) else content


def without_secrets_of(url: str, text: str) -> str:
    """`text` without the user, the password and the values of the query of `url`, parts of which it may repeat."""
    try:
        parts = urlsplit(url)
        found = [parts.password or "", parts.username or ""]
        found += [value for _, value in parse_qsl(parts.query) if len(value) > 2]
    except ValueError:  # no URL: a driver that names it does so as a whole
        found = []
    for secret in sorted({each for value in found for each in (value, unquote(value)) if each}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)
    return masked(text)


def _without_secrets(rest: str) -> str:
    """Of what stands behind `://`."""
    secret, at, place = rest.rpartition("@")
    place = re.sub(r"[?#].+", f"?{MASK}", place, count=1, flags=re.DOTALL)
    return f"{MASK}@{place}" if at and secret else at + place
