"""A real HTTP server on this machine that answers as a test says."""

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

import pytest

from taosr_she.endpoint.asker import Asker, Question
from taosr_she.endpoint.settings import EndpointConfig


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


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def make_config(server: Server) -> Callable[..., EndpointConfig]:
    """Settings for the server: one request at a time, waits of nothing."""

    def make(**settings: Any) -> EndpointConfig:
        quick = {"base_url": server.url, "model": "m", "concurrency": 1, "backoff_seconds": 0}
        return EndpointConfig(**(quick | settings))

    return make


@pytest.fixture
def make_asker(make_config: Callable[..., EndpointConfig], tmp_path: Path) -> Iterator[Callable[..., Asker]]:
    """Askers on one file of answers; `make_asker.waits` collects what they would have waited."""
    made: list[Asker] = []

    def make(**settings: Any) -> Asker:
        made.append(Asker(make_config(**settings), tmp_path / "answers.jsonl", make.waits.append))
        return made[-1]

    make.waits = []
    yield make
    for asker in made:
        asker.close()


@pytest.fixture
def ask() -> Callable[..., list[Question]]:
    """`ask(n)`: n questions, whose usable answer is "good"."""

    def questions(count: int) -> list[Question]:
        return [
            Question(
                f"k{i}",
                f"p{i}",
                lambda reason, i=i: [{"role": "user", "content": f"{i} {reason}"}],
                lambda text, finished: None if text == "good" and finished else "not good",
            )
            for i in range(count)
        ]

    return questions
