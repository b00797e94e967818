"""Replies of the service that are the same on every route: JSON, and errors as one line."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Response

from taosr_she.base.escape import one_line

SHOWN = 300
"""Maximum number of characters of an error's line."""


class Refused(Exception):
    """A request that gets an error. The line names what is wrong, and the fix."""

    def __init__(self, status: int, line: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(line)
        self.status, self.line, self.headers = status, line, dict(headers or {})


def reply(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON. Half characters that no encoding can write are escaped."""
    body = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(body.encode("utf-8", "backslashreplace"), status, dict(headers or {}), "application/json")


def error(status: int, line: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error in the form that OpenAI's clients read, also for the other routes."""
    line = one_line(line)
    line = line if len(line) <= SHOWN else line[: SHOWN - 3] + "..."
    return reply({"error": {"message": line, "type": _kind(status), "code": status}}, status, headers)


def first_problem(errors: Sequence[Mapping[str, Any]]) -> str:
    """The first of pydantic's errors as one line: where it is, and what is wrong."""
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body" and not _branch(str(part)))
    kind, message = first["type"], str(first["msg"]).removeprefix("Value error, ")
    if kind == "json_invalid":
        return f"the body is not JSON: {first.get('ctx', {}).get('error', message)} at character {first['loc'][-1]}"
    if kind == "extra_forbidden":
        return f"{where}: unknown field; remove it or check its spelling"
    if kind == "missing":
        return f"{where}: missing" if where else "the body is missing: send JSON, with content-type: application/json"
    if not where:
        return "the body must be a JSON object, with content-type: application/json"
    return f"{where}: {message[:1].lower()}{message[1:]}"


def _branch(part: str) -> bool:
    """Whether a part of a location is pydantic's name for a branch of a union."""
    return part in ("str", "dict[str,any]") or part.startswith(("list[", "dict[", "function-")) or part[:1].isupper()


def _kind(status: int) -> str:
    if status == 401:
        return "authentication_error"
    if status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if status < 500 else "server_error"


def unit(grades: Sequence[float], expected: float) -> float:
    """An expected grade between 0 (worst grade) and 1 (best grade), for formats with such a score."""
    low, high = min(grades), max(grades)
    return min(1.0, max(0.0, (expected - low) / (high - low)))
