"""A service with the toy judge, in a thread of the tests or as a process of its own."""

import asyncio
import dataclasses
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from taosr_she import Judge
from taosr_she.serve.app import build_app
from taosr_she.serve.keys import Keys
from taosr_she.serve.running import _Server, listening
from taosr_she.serve.service import Service
from taosr_she.serve.settings import ServeSettings

KEY, ADMIN_KEY = "a-key-of-the-tests", "an-admin-key-of-the-tests"


class Gate:
    """A judge that waits until its gate is open, and notes what it is asked."""

    def __init__(self, judge: Judge) -> None:
        self.judge, self.open, self.entered = judge, threading.Event(), threading.Event()
        self.batches: list[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.judge, name)

    def __call__(self, rows: list[dict[str, Any]], written: Any = None) -> Any:
        self.batches.append([f"{row['query']}|{row.get('title')}" for row in rows])
        self.entered.set()
        assert self.open.wait(20)
        return self.judge(rows, written=written)


@dataclasses.dataclass
class Served:
    """A running service with a client."""

    client: httpx.Client
    service: Service
    loop: asyncio.AbstractEventLoop
    url: str

    def judge(self, query: str, *titles: str, **more: Any) -> httpx.Response:
        body = {"query": query, "candidates": [{"id": title, "title": title} for title in titles], **more}
        return self.client.post("/v1/judge", json=body)

    def metric(self, name: str) -> float:
        page = self.client.get("/metrics", headers={"x-api-key": KEY}).text
        return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith(name))


@contextmanager
def in_thread(judge: Any, keys: tuple[str, ...] = (), admin: tuple[str, ...] = (), **settings: Any) -> Iterator[Served]:
    """A service on a free port of loopback, in a thread."""
    settings_ = ServeSettings(**{"model": "Toys/boots", "name": "boots", "port": 0, **settings})
    service = Service(settings_, judge)
    listener = listening(settings_)
    server = _Server(uvicorn.Config(build_app(service, Keys(keys), Keys(admin)), log_config=None, access_log=False))
    loops: list[asyncio.AbstractEventLoop] = []

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve([listener])

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with httpx.Client(base_url=url, timeout=20) as client:
        while not server.started:
            time.sleep(0.005)
        try:
            yield Served(client, service, loops[0], url)
        finally:
            server.should_exit = server.force_exit = True
            thread.join(20)
            listener.close()


@pytest.fixture
def gate(judge: Judge) -> Iterator[Gate]:  # noqa: F811
    closed = Gate(judge)
    yield closed
    closed.open.set()


@pytest.fixture(scope="module")
def served(judge: Judge) -> Iterator[Served]:  # noqa: F811
    with in_thread(judge) as running:
        yield running


@dataclasses.dataclass
class Process:
    """`taosr-she serve` as a process."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait_for(self, text: str, seconds: float = 20) -> None:
        until = time.monotonic() + seconds
        while text not in self.log.read_text():
            assert time.monotonic() < until and self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Process]]:
    """`start(FOLDER, "--option", ...)` returns when the process answers."""
    processes: list[subprocess.Popen[str]] = []
    place = tmp_path_factory.mktemp("start")

    def started(model: object, *options: object, **environment: str) -> Process:
        log = place / f"serve-{len(processes)}.log"
        command = [sys.executable, "-m", "taosr_she.cli", "serve", str(model), "--port", "0", *map(str, options)]
        env = {**os.environ, "COLUMNS": "300", **environment}
        with log.open("w") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, text=True, env=env, cwd=place)
        processes.append(process)
        until = time.monotonic() + 60
        while not (found := re.search(r"on (http://\S+);", log.read_text())):
            assert time.monotonic() < until and process.poll() is None, log.read_text()
            time.sleep(0.02)
        return Process(process, found[1], log)

    yield started
    for process in processes:
        process.kill()
        process.wait()
