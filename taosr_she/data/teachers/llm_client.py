"""One request to an OpenAI-compatible endpoint, and what its failures mean."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from taosr_she.data.teachers.llm_prompt import Message
from taosr_she.errors import UserError

if TYPE_CHECKING:
    import httpx

_RETRY = {408, 409, 425, 429}  # and everything from 500
_MESSAGE_CHARS = 200


@dataclass(frozen=True)
class Answer:
    """The text, whether it is complete (not cut at `max_tokens`), and the tokens where the endpoint counted them."""

    text: str
    finished: bool
    tokens_in: int | None
    tokens_out: int | None


class TryAgain(Exception):
    """A failure that may pass: overload, time-out, a broken connection."""

    def __init__(
        self, reason: str, wait_seconds: float | None = None, lost: bool = False, unreachable: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait_seconds = wait_seconds  # what Retry-After asks for
        self.lost = lost  # the request was sent and may have been billed
        self.unreachable = unreachable  # nobody listens


class Refused(Exception):
    """The endpoint takes requests, but not this one."""


class ChatClient:
    """POSTs to `{base_url}/chat/completions`; threads may share it. The key, from the environment, stays here."""

    def __init__(self, base_url: str, model: str, api_key_env: str, timeout_seconds: float, connections: int) -> None:
        """Raises UserError when the key's environment variable is not set, or httpx is not installed."""
        try:
            import httpx
        except ModuleNotFoundError as error:
            raise UserError("the LLM teacher needs httpx: pip install 'taosr-she[teacher]'") from error
        self._key = os.environ.get(api_key_env, "").strip() if api_key_env else ""
        if api_key_env and not self._key:
            raise UserError(
                f"the LLM teacher reads its key from the environment variable {api_key_env}, which is not set; "
                "set it, or api_key_env: '' for an endpoint without keys"
            )
        if not self._key.isascii() or not self._key.isprintable():
            raise UserError(f"the key in {api_key_env} holds characters that no key has; copy it again")
        self.model = model
        self._key_env = api_key_env
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._http = httpx.Client(
            timeout=timeout_seconds,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
        )

    def ask(self, messages: Sequence[Message], temperature: float, max_tokens: int) -> Answer:
        """Raises TryAgain, Refused, or UserError for what will fail for every pair (key, model, address)."""
        import httpx

        body = {"model": self.model, "messages": list(messages), "temperature": temperature, "max_tokens": max_tokens}
        try:
            reply = self._http.post(self._url, json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise TryAgain(f"no connection: {error}", unreachable=True) from error
        except httpx.TimeoutException as error:
            raise TryAgain("no answer in time", lost=not isinstance(error, httpx.PoolTimeout)) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise UserError(f"base_url {self._url}: {error}") from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise TryAgain(f"the connection broke: {type(error).__name__}", lost=True) from error
        if reply.status_code == 200:
            return self._answer(reply)
        return self._fail(reply)

    def close(self) -> None:
        self._http.close()

    def _answer(self, reply: "httpx.Response") -> Answer:
        try:
            data = reply.json()
            choice = data["choices"][0]
            content = choice["message"].get("content")
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
            raise UserError(
                f"{self._url}: the answer is not that of an OpenAI-compatible endpoint; "
                "check base_url (it often ends in /v1)"
            ) from error
        usage = data.get("usage")
        # Half a surrogate pair is valid JSON but no text that a file could hold.
        text = content.encode("utf-8", "replace").decode("utf-8") if isinstance(content, str) else ""
        return Answer(
            text, choice.get("finish_reason") != "length",
            _count(usage, "prompt_tokens"), _count(usage, "completion_tokens"),
        )  # fmt: skip

    def _fail(self, reply: "httpx.Response") -> Answer:
        status, said = reply.status_code, self._message(reply)
        if status in _RETRY or status >= 500:
            raise TryAgain(f"status {status}{said}", _retry_after(reply.headers.get("retry-after")))
        if status in (401, 403):
            key = f"the key in {self._key_env}" if self._key_env else "a request without a key (api_key_env is empty)"
            raise UserError(f"{self._url}: status {status}, the endpoint does not accept {key}{said}")
        if status == 404:
            raise UserError(f"{self._url}: status 404, no model '{self.model}' or a wrong base_url{said}")
        if status < 400:
            raise UserError(f"{self._url}: status {status} instead of an answer; check base_url")
        raise Refused(f"status {status}{said}")

    def _message(self, reply: "httpx.Response") -> str:
        """`: what the endpoint said`, on one line, without the key should it repeat it."""
        try:
            error: Any = reply.json()["error"]
            said = error["message"] if isinstance(error, dict) else error
        except (ValueError, RecursionError, LookupError, TypeError):
            said = reply.text
        line = " ".join(str(said).split())
        if self._key:
            line = line.replace(self._key, "***")
        return f": {line[:_MESSAGE_CHARS]}" if line else ""


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and value >= 0 else None


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait; the header holds seconds or a date."""
    if not value:
        return None
    if value.strip().replace(".", "", 1).isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
