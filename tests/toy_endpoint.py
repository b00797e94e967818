"""OpenAI-compatible endpoints for tests: real HTTP servers on this machine that answer as a test says."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any, TypeVar

import pytest

Reply = tuple[int, dict[str, str], Any]  # status, headers, JSON body or bytes


class Handler(BaseHTTPRequestHandler):
    """One request; `body` is what was asked, `number` counts from 0."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or every answer waits 40 ms
    body: dict[str, Any]
    number: int

    def send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def raw(self, *parts: bytes, pause: float = 0) -> None:
        """Whatever bytes, with pauses between them; then the connection closes."""
        self.close_connection = True
        for part in parts:
            self.wfile.write(part)
            self.wfile.flush()
            if self.server.over.wait(pause):  # type: ignore[attr-defined]
                return

    def answer(self, text: Any = "good", **more: Any) -> None:
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        self.send(200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage} | more)

    def do_POST(self) -> None:
        server: Any = self.server
        self.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            self.number = len(server.requests)
            server.requests.append(self.body)
            server.headers.append(dict(self.headers))
            server.paths.append(self.path)
        try:
            server.say(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client has lost patience: that is what is tested

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Answers with `say(handler)` and remembers the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.say: Callable[[Handler], object] = Handler.answer
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.lock, self.over = Lock(), Event()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def handle_error(self, *_: object) -> None:
        pass  # a test's answer that breaks off


class PairServer(Server):
    """Answers `reply(pair number, how often this pair was asked before)`; the number stands in the question's text."""

    def __init__(self, reply: Callable[[int, int], Reply]) -> None:
        super().__init__()
        self.reply, self.asked, self.say = reply, [], self._answer
        self.keys: set[str | None] = set()

    def _answer(self, handler: Handler) -> None:
        pair = int(re.search(r"number(\d+)", handler.body["messages"][1]["content"])[1])
        with self.lock:
            before = self.asked.count(pair)
            self.asked.append(pair)
            self.keys.add(handler.headers["Authorization"])
        known = handler.path == "/v1/chat/completions"
        status, headers, content = self.reply(pair, before) if known else (404, {}, {})
        handler.send(status, content, headers)


def chat(text: str | None, usage: tuple[int, int] | None = (100, 20), finish: str = "stop") -> Reply:
    """A chat completion as an endpoint sends it."""
    body: dict[str, Any] = {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}]}
    if usage:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return 200, {}, body


AnyServer = TypeVar("AnyServer", bound=Server)


@contextmanager
def running(server: AnyServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[AnyServer]:
    """The server, reached without a proxy, until the end of the test."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()
