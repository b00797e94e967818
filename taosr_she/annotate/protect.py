"""Headers that let a browser run only the page's own files, and a limit on the length of a request."""

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 4 * 1024 * 1024
"""Longest body of a request: 200 answers whose texts have the longest length."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Protect:
    """An ASGI middleware; see the top of this file."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        lengths = [int(value) for name, value in scope["headers"] if name == b"content-length" and value.isdigit()]
        chunked = any(name == b"transfer-encoding" for name, _ in scope["headers"])
        if chunked or any(length > MOST_BYTES for length in lengths):
            said = f"a request has at most {MOST_BYTES // 1024 // 1024} MiB, and says its length"
            await JSONResponse({"error": said}, status_code=413)(scope, receive, protected)
            return
        await self.app(scope, receive, protected)
