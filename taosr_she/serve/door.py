"""What every request passes before its route: the key, the service's state, the size and time of its body.

This is plain ASGI. The whole body is read here, within limits, and only after the key was checked; so no route sees a
body that is too large, and a route that waits can see that its client leaves.
"""

import asyncio
import logging
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taosr_she.base.escape import one_line
from taosr_she.serve.keys import Keys, shown_key
from taosr_she.serve.replies import error
from taosr_she.serve.service import Service

log = logging.getLogger(__name__)

OPEN = ("/healthz", "/readyz", "/docs", "/openapi.json")
"""Paths that need no key and are answered while stopping."""
ADMIN = "/admin/reload"
ROUTES = frozenset((
    *OPEN, ADMIN, "/metrics", "/v1/judge", "/v1/rerank", "/v2/rerank", "/v1/chat/completions", "/v1/models",
))  # fmt: skip
"""Paths with measurements of their own; all others together are `other`."""
BODY_SECONDS = 30.0
"""Time that a body has to arrive."""
DISCARDED = 16 * 1024 * 1024
"""Bytes of a body over the limit that are still read: a client that is cut off while it sends would not see why."""
HELD = 64
"""Bodies of the largest size that are held at the same time; above it, requests are refused."""
CLOSE = {"connection": "close"}


class Door:
    """Lets requests in to `app`."""

    def __init__(self, app: ASGIApp, service: Service, keys: Keys, admin_keys: Keys) -> None:
        self.app, self.service, self.keys, self.admin_keys = app, service, keys, admin_keys
        self.limit = service.settings.body_bytes
        self.held = 0  # bytes of the bodies of requests in progress

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.monotonic(), 499  # the client left without an answer
        path = scope["path"]

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self.service.in_progress += 1
        try:
            await self._enter(scope, receive, noted)
        except Exception:
            log.exception("a request failed")
            if status == 499:
                await error(500, "the service made a mistake; its log says more")(scope, receive, noted)
        finally:
            self.service.in_progress -= 1
            seconds = time.monotonic() - began
            route = path if path in ROUTES else "other"
            self.service.metrics.requests.labels(route, status).inc()
            self.service.metrics.latency.labels(route).observe(seconds)
            text = scope.get("state", {}).get("texts", "")
            told = path if route != "other" else one_line(path)[:80]
            log.info("%s %s %d %.0f ms%s", scope["method"][:8], told, status, 1000 * seconds, text)

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path not in OPEN:
            refused = self._refused(scope, path)
            if refused is not None:
                await error(*refused)(scope, receive, send)
                return
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await self._body(scope, receive)
        except TimeoutError:
            await error(408, f"the body did not arrive within {BODY_SECONDS:.0f} seconds", CLOSE)(scope, receive, send)
            return
        if body is None:  # the client left
            return
        if isinstance(body, int):
            line = (
                f"the body is larger than {self.limit} bytes: send fewer candidates in a call"
                if body == 413
                else "too many large requests at the same time; try again"
            )
            await error(body, line, CLOSE | ({"retry-after": "1"} if body == 429 else {}))(scope, receive, send)
            return
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        try:
            await self.app(scope, replay, send)
        finally:
            self.held -= len(body)

    def _refused(self, scope: Scope, path: str) -> tuple[int, str, dict[str, str]] | None:
        """Status, line and headers of a request that may not enter."""
        key = shown_key(scope["headers"])
        if path == ADMIN:
            if not self.admin_keys and self.keys:
                return 403, "no admin key is set: start the service with --admin-keys, or send SIGHUP", {}
            if self.admin_keys and not self.admin_keys.have(key):
                return 401, "an admin key is needed: send Authorization: Bearer KEY", {"www-authenticate": "Bearer"}
        elif self.keys and not self.keys.have(key) and not (self.admin_keys and self.admin_keys.have(key)):
            return 401, "a key is needed: send Authorization: Bearer KEY", {"www-authenticate": "Bearer"}
        if self.service.stopping and path != "/metrics":
            return 503, "the service is stopping: send the request to another one", CLOSE
        return None

    async def _body(self, scope: Scope, receive: Receive) -> bytes | int | None:
        """The body, counted in `held`; the status if it is refused; None if the client left."""
        length = dict(scope["headers"]).get(b"content-length", b"0")
        over = length.isdigit() and int(length) > self.limit
        crowded = self.held > 0 and self.held + (int(length) if length.isdigit() else 0) > HELD * self.limit
        body = bytearray()
        size = 0
        whole = False
        try:
            while True:
                message: dict[str, Any] = dict(await receive())
                if message["type"] == "http.disconnect":
                    return None
                part = message.get("body", b"")
                size += len(part)
                over = over or size > self.limit
                crowded = crowded or self.held + len(part) > HELD * self.limit
                if not over and not crowded:
                    body += part
                    self.held += len(part)
                if size > DISCARDED or not message.get("more_body", False):
                    whole = not over and not crowded
                    return bytes(body) if whole else 413 if over else 429
        finally:
            if not whole:
                self.held -= len(body)
