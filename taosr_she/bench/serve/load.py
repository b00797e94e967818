"""Clients of the benchmark: some that wait for each answer (closed loop), or requests at a fixed rate (open loop)."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np

from taosr_she.base.errors import UserError

STARTS_IN = 180.0
"""Seconds that a service may take to load its model."""


class Answered(NamedTuple):
    """One request of a run."""

    status: int
    seconds: float
    candidates: int  # judged
    ended: float  # on the clock of the run


def figures(answered: Sequence[Answered], seconds: float) -> dict[str, float]:
    """Rates and percentiles of the requests with status 200."""
    good = [one for one in answered if one.status == 200]
    latency = np.array([one.seconds for one in good]) if good else np.array([np.nan])
    return {
        "requests": len(answered),
        "answered": len(good),
        "refused": sum(one.status == 429 for one in answered),
        "other": sum(one.status not in (200, 429) for one in answered),
        "requests_per_second": len(good) / seconds,
        "candidates_per_second": sum(one.candidates for one in good) / seconds,
        **{f"p{q}": float(np.percentile(latency, q)) for q in (50, 95, 99)},
    }


def closed(url: str, bodies: Sequence[dict[str, Any]], clients: int, seconds: float) -> dict[str, float]:
    """`clients` clients ask one after another for `seconds`; what was begun is waited for."""

    async def run() -> dict[str, float]:
        left = cycle(bodies)
        answered: list[Answered] = []
        began = time.perf_counter()

        async def client(http: httpx.AsyncClient) -> None:
            answered.append(await _ask(http, next(left), began))
            while time.perf_counter() - began < seconds:
                answered.append(await _ask(http, next(left), began))

        async with _http(url) as http:
            await asyncio.gather(*(client(http) for _ in range(clients)))
        return figures(answered, max(one.ended for one in answered))

    return asyncio.run(run())


def opened(url: str, bodies: Sequence[dict[str, Any]], rate: float, seconds: float) -> dict[str, float]:
    """`rate` requests a second, whether or not the earlier ones are answered."""

    async def run() -> dict[str, float]:
        tasks: list[asyncio.Task[Answered]] = []
        async with _http(url) as http:
            began = time.perf_counter()
            for number, body in zip(range(int(rate * seconds)), cycle(bodies), strict=False):
                await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
                tasks.append(asyncio.create_task(_ask(http, body, began)))
            answered = await asyncio.gather(*tasks)
        return figures(answered, max(one.ended for one in answered))

    return asyncio.run(run())


def _http(url: str) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=2000, max_keepalive_connections=200)
    return httpx.AsyncClient(base_url=url, timeout=600, limits=limits, trust_env=False)


async def _ask(http: httpx.AsyncClient, body: dict[str, Any], began: float) -> Answered:
    sent = time.perf_counter()
    answer = await http.post("/v1/judge", json=body)
    now = time.perf_counter()
    judged = len(answer.json()["judgements"]) if answer.status_code == 200 else 0
    return Answered(answer.status_code, now - sent, judged, now - began)


class Running(NamedTuple):
    """A service that answers."""

    url: str
    pid: int

    def cpu_seconds(self) -> float:
        """Time that its threads have computed, which other work on the machine does not lengthen much."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def service(module: str, settings: dict[str, Any], *options: str, threads: int = 1) -> Iterator[Running]:
    """A service of this benchmark as a process with so many threads, from when it answers."""
    port = free_port()
    command = [sys.executable, "-m", module, json.dumps({**settings, "port": port}), *options]
    env = os.environ | {"OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + STARTS_IN
        while True:
            if process.poll() is not None:
                said = process.stderr.read().strip().splitlines() if process.stderr else []
                raise UserError(f"{module} did not start: {said[-1] if said else 'it said nothing'}")
            try:
                httpx.get(f"{url}/openapi.json", timeout=1, trust_env=False)
                break
            except httpx.TransportError as error:
                if time.monotonic() > until:
                    raise UserError(f"{module} did not answer within {STARTS_IN:.0f} s") from error
                time.sleep(0.1)
        yield Running(url, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port of loopback that nobody uses now."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
