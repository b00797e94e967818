"""POST requests with a limit on total time and on size, whatever the server does.

Requests run in an event loop in a separate thread. Only there can a deadline interrupt every wait: for the
connection, for each header, and for each byte of the body.
"""

import asyncio
import concurrent.futures
import zlib
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from threading import Lock, Thread
from typing import TYPE_CHECKING

from taosr_she.base.errors import UserError
from taosr_she.base.secret import masked
from taosr_she.endpoint.failures import TryAgain

if TYPE_CHECKING:
    import httpx

BODY_LIMIT = 8 << 20
"""Maximum size of an unpacked answer in bytes. The longest answers of today's models have less than 1 MiB."""
ERROR_LIMIT = 64 << 10
"""Maximum number of bytes read from the body of an error, which is quoted in one line."""


@dataclass(frozen=True)
class Reply:
    """A reply. Its body may be cut off unless the status is 200."""

    status: int
    retry_after: str | None
    body: bytes


class Transport:
    """Sends requests; threads may share it."""

    def __init__(self, silence_seconds: float, deadline_seconds: float, connections: int) -> None:
        """Raises UserError if httpx is not installed, or proxy or certificate settings are unusable."""
        try:
            import httpx
        except ModuleNotFoundError as error:
            raise UserError("an endpoint needs httpx: pip install 'taosr-she[teacher]'") from error
        self._deadline = deadline_seconds
        try:
            self._http = httpx.AsyncClient(
                timeout=silence_seconds,
                limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
                headers={"Accept-Encoding": "identity"},  # nothing to gain on a few kB
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # none are kept
            )
        except (ValueError, OSError, ImportError, httpx.InvalidURL) as error:
            raise UserError(
                f"the HTTP client cannot start: {masked(str(error))}; check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and "
                "SSL_CERT_FILE in the environment"
            ) from error
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def post(self, url: str, content: bytes, headers: dict[str, str]) -> Reply:
        """Raises TryAgain if the reply is missing, broken off, too slow or too long; UserError if the URL is wrong."""
        running = asyncio.run_coroutine_threadsafe(self._post(url, content, headers), self._running_loop())
        try:
            return running.result()
        except concurrent.futures.CancelledError as error:
            raise TryAgain("stopped before an answer came", lost=True) from error

    def abort(self) -> None:
        """Drop the requests in flight; their threads get TryAgain."""

        def cancel() -> None:
            for task in asyncio.all_tasks(self._loop):
                task.cancel()

        if self._loop is not None:
            self._loop.call_soon_threadsafe(cancel)

    def close(self) -> None:
        """Close the connections and end the thread. No request may be in flight."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            asyncio.run_coroutine_threadsafe(self._http.aclose(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()
            loop.close()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = Thread(target=self._loop.run_forever, name="endpoint", daemon=True)
                self._thread.start()
            return self._loop

    async def _post(self, url: str, content: bytes, headers: dict[str, str]) -> Reply:
        import httpx

        try:
            async with asyncio.timeout(self._deadline):
                async with self._http.stream(
                    "POST", url, content=content, headers={"Content-Type": "application/json", **headers}
                ) as reply:
                    return Reply(reply.status_code, reply.headers.get("retry-after"), await _body(reply))
        except TimeoutError as error:
            raise TryAgain(f"no complete answer within {self._deadline:g} seconds", lost=True) from error
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise TryAgain(f"no connection: {str(error) or 'no answer in time'}", unreachable=True) from error
        except httpx.TimeoutException as error:
            raise TryAgain("no answer in time", lost=not isinstance(error, httpx.PoolTimeout)) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
            raise UserError(f"base_url {masked(url)}: {masked(str(error))}") from error
        except (httpx.TransportError, zlib.error) as error:
            raise TryAgain(f"the connection broke: {type(error).__name__}", lost=True) from error


async def _body(reply: "httpx.Response") -> bytes:
    """The unpacked body. For an error, the part that could be read, because its status is enough."""
    import httpx

    whole = reply.status_code == 200
    found = bytearray()
    try:
        await _read(reply, found, BODY_LIMIT if whole else ERROR_LIMIT)
    except (TryAgain, httpx.TransportError, zlib.error):
        if whole:
            raise
    return bytes(found)


async def _read(reply: "httpx.Response", found: bytearray, limit: int) -> None:
    packing = reply.headers.get("content-encoding", "").strip().lower()
    if packing not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise TryAgain(f"the answer is compressed as {packing[:20]!r}, which was not requested", lost=True)
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32) if packing not in ("", "identity") else None
    received = 0
    async for chunk in reply.aiter_raw():
        received += len(chunk)
        # Unpack at most one byte beyond the limit, as a protection against compression bombs.
        found += unpack.decompress(chunk, limit + 1 - len(found)) if unpack else chunk
        if max(received, len(found)) > limit:
            del found[limit:]
            raise TryAgain(f"the answer is longer than {limit >> 20 or 1} MiB", lost=True)
    if unpack and not unpack.eof:
        raise TryAgain("the compressed answer is incomplete", lost=True)
