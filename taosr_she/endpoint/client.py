"""One request to an OpenAI-compatible endpoint, and the meaning of its failures."""

import base64
import json
import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from taosr_she.base.errors import UserError
from taosr_she.base.secret import MASK, masked, without_secrets_of
from taosr_she.endpoint.chat import Message
from taosr_she.endpoint.failures import Refused, TryAgain
from taosr_she.endpoint.reply import Answer, Damaged, ErrorBody, NoEndpoint, read_answer, read_error
from taosr_she.endpoint.retry import retry_after_seconds
from taosr_she.endpoint.settings import EndpointConfig
from taosr_she.endpoint.transport import Reply, Transport

_RETRY = {408, 409, 425, 429}  # and everything from 500
_QUOTED_CHARS = 200


class ChatClient:
    """POSTs to `{base_url}/chat/completions`; threads may share it. The key from the environment does not leave it.

    If the endpoint reports that its model uses another name for `max_tokens`, or accepts no temperature, later requests
    are adapted. `adapted` describes these changes.
    """

    def __init__(self, config: EndpointConfig) -> None:
        """Raises UserError if the key's environment variable is not set, or httpx is not installed."""
        self.shown_url = masked(config.base_url)
        self._config = config
        self._key = self._read_key()
        self._url = _chat_url(config.base_url)
        self._headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._limit_name = "max_tokens" if config.max_tokens_name == "auto" else config.max_tokens_name
        self._send_temperature = config.temperature is not None
        self._has_answered = False
        self.adapted: list[str] = []
        self._transport = Transport(config.timeout_seconds, config.deadline_seconds, config.concurrency)

    def ask(self, messages: Sequence[Message]) -> Answer:
        """Raises TryAgain or Refused, or UserError for a failure that affects every question (key, model, address)."""
        while True:
            limit_name, send_temperature = self._limit_name, self._send_temperature
            body: dict[str, Any] = {
                "model": self._config.model, "messages": list(messages), limit_name: self._config.max_tokens
            }  # fmt: skip
            if send_temperature:
                body["temperature"] = self._config.temperature
            # In ASCII, lone surrogates, which data may contain, are written as \udXXX.
            reply = self._transport.post(self._url, json.dumps(body).encode("ascii"), self._headers)
            if reply.status == 200:
                return self._answer(reply)
            error = read_error(reply.body)
            if reply.status not in (400, 422) or not self._adapt(error.message, limit_name, send_temperature):
                raise self._failure(reply.status, error, reply)

    def abort(self) -> None:
        """Drop the requests in flight; their threads get TryAgain."""
        self._transport.abort()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _read_key(self) -> str:
        name = self._config.api_key_env
        key = os.environ.get(name, "").strip() if name else ""
        if name and not key:
            raise UserError(
                f"the key for {self.shown_url} is read from the environment variable {name}, which is not set; "
                "set it, or leave the variable's name empty (api_key_env: '') for an endpoint without keys"
            )
        if not key.isascii() or not key.isprintable():
            raise UserError(f"the key in {name} contains invalid characters; copy it again")
        if key and "@" in urlsplit(self._config.base_url).netloc:
            raise UserError(
                f"base_url {self.shown_url} has a user and password, and {name} has a key, but only one of them can be "
                "sent; remove the other"
            )
        return key

    def _answer(self, reply: Reply) -> Answer:
        try:
            answer = read_answer(reply.body)
        except Damaged as error:
            raise TryAgain(f"the answer is damaged, {error}{self._quote(_text(reply.body))}", lost=True) from error
        except NoEndpoint as error:
            if self._has_answered:  # an occasional page of a gateway
                raise TryAgain(f"something other than an answer, {error}{self._quote(_text(reply.body))}") from error
            raise UserError(
                f"{masked(self._url)}: the answer is not from an OpenAI-compatible endpoint ({error}); check "
                f"base_url (it often ends in /v1){self._quote(_text(reply.body))}"
            ) from error
        if isinstance(answer, ErrorBody):
            if answer.status is None:
                raise TryAgain(f"an error instead of an answer{self._quote(answer.message)}")
            raise self._failure(answer.status, answer, reply)
        self._has_answered = True
        return answer

    def _failure(self, status: int, error: ErrorBody, reply: Reply) -> Exception:
        said, url = self._quote(error.message), masked(self._url)
        if status in _RETRY or status >= 500:
            return TryAgain(f"status {status}{said}", retry_after_seconds(reply.retry_after))
        if status in (401, 403):
            name = self._config.api_key_env
            no_key = "a request without a key (name the variable with the key: api_key_env or --api-key-env)"
            key = f"the key in {name}" if name else no_key
            return UserError(f"{url}: status {status}, the endpoint does not accept {key}{said}")
        if status == 402:
            return UserError(f"{url}: status 402, the endpoint asks for payment{said}")
        if status in (404, 405, 410):
            return UserError(f"{url}: status {status}, no model '{self._config.model}' or a wrong base_url{said}")
        if status < 400:
            return UserError(f"{url}: status {status} instead of an answer; check base_url")
        return Refused(f"status {status}{said}")

    def _adapt(self, message: str, limit_name: str, sent_temperature: bool) -> bool:
        """Whether a request refused with this message can be sent in another form, which is then used from now on.

        Reasoning models (OpenAI's o1 and later) need `max_completion_tokens` and accept only their default temperature.
        """
        said = message.casefold()
        if limit_name == "max_tokens" and "max_completion_tokens" in said and self._config.max_tokens_name == "auto":
            self._limit_name = "max_completion_tokens"
            self._note("the endpoint needs max_completion_tokens instead of max_tokens")
            return True
        if sent_temperature and "temperature" in said and ("support" in said or "default" in said):
            self._send_temperature = False
            self._note(f"the model accepts only its default temperature; {self._config.temperature} is not sent")
            return True
        return False

    def _note(self, text: str) -> None:
        if text not in self.adapted:
            self.adapted.append(text)

    def _quote(self, said: str) -> str:
        """`: what the endpoint said`, on one line of plain characters, without key and password."""
        for secret in filter(None, (self._key, _basic(self._config.base_url))):
            said = said.replace(secret, MASK)
        said = without_secrets_of(self._config.base_url, said)
        line = " ".join("".join(c if c.isprintable() else " " for c in said).split())
        return f": {line[:_QUOTED_CHARS]}" if line else ""


def _chat_url(base_url: str) -> str:
    """The URL of the chat completions. A query, which some gateways need, stays at the end."""
    address, mark, query = base_url.partition("?")
    return f"{address.rstrip('/')}/chat/completions{mark}{query}"


def _basic(url: str) -> str:
    """User and password of a URL, encoded as in the Authorization header."""
    parts = urlsplit(url)
    if parts.username is None:
        return ""
    return base64.b64encode(f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()).decode()


def _text(body: bytes) -> str:
    return body[: 4 * _QUOTED_CHARS].decode("utf-8", "replace")
