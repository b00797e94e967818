"""Parses the body of a reply: an answer, or an error instead of one."""

import json
import re
from dataclasses import dataclass
from typing import Any

MOST_TOKENS = 100_000_000
"""A larger token count is treated as invalid."""


@dataclass(frozen=True)
class Answer:
    """The text, whether it is complete (not cut at `max_tokens`), and the token counts if the endpoint reports them."""

    text: str
    finished: bool
    tokens_in: int | None
    tokens_out: int | None


@dataclass(frozen=True)
class ErrorBody:
    """An error: its message, and the status given in `code`, if any."""

    message: str
    status: int | None = None


class Damaged(Exception):
    """The body of an answer is cut off or lacks a required part."""


class NoEndpoint(Exception):
    """The body is not from an OpenAI-compatible endpoint: a web page, or some other JSON."""


def read_answer(body: bytes) -> Answer | ErrorBody:
    """Parse a reply with status 200. Raises Damaged or NoEndpoint."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        looks_cut_off = not body.strip() or body.lstrip().startswith(b"{")
        raise (Damaged if looks_cut_off else NoEndpoint)("no JSON") from error
    if not isinstance(data, dict):
        raise NoEndpoint("no JSON object")
    if data.get("error"):
        return error_body(data)
    if "choices" not in data:
        raise NoEndpoint("no choices")
    choices = data["choices"]
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        raise Damaged("no choice in it")
    message = choice.get("message")
    if choice.get("error"):  # of a provider behind a gateway
        return error_body(choice)
    if not isinstance(message, dict):
        raise Damaged("no message in it")
    usage = data.get("usage")
    return Answer(
        _text(message.get("content")), choice.get("finish_reason") != "length",
        _count(usage, "prompt_tokens"), _count(usage, "completion_tokens"),
    )  # fmt: skip


def read_error(body: bytes) -> ErrorBody:
    """Parse a reply with any other status."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, dict) and data.get("error"):
        return error_body(data)
    return ErrorBody(body.decode("utf-8", "replace"))


def error_body(data: dict[str, Any]) -> ErrorBody:
    """The `error` of a JSON object: a text, or an object with `message` and perhaps a `code` that is a status."""
    error = data["error"]
    code = str(error.get("code")) if isinstance(error, dict) else ""
    said = (error.get("message") if isinstance(error, dict) else None) or error
    try:
        message = str(said)
    except RecursionError:  # nested as deeply as JSON may be
        message = ""
    return ErrorBody(message, int(code) if re.fullmatch(r"[45][0-9][0-9]", code) else None)


def _text(content: Any) -> str:
    """The text of a message, which some servers send in parts. Anything else is not text."""
    if isinstance(content, list):
        content = "".join(
            part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    # A lone surrogate is valid JSON, but cannot be written to a file.
    return content.encode("utf-8", "replace").decode("utf-8") if isinstance(content, str) else ""


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    counts = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS
    return value if counts else None
