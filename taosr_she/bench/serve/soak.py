"""A soak: clients of all kinds ask a service under a supervisor while it is reloaded and killed.

Every answer is compared with that of the judge called alone, in this process. A request may only stay without an answer
or an error while the service is down after a kill -9. The service's memory is measured over each of its lives.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rich.console import Console

from taosr_she.base.errors import UserError
from taosr_she.bench.results import write_result
from taosr_she.bench.serve.load import free_port
from taosr_she.bench.serve.measure import OURS
from taosr_she.bench.serve.work import requests
from taosr_she.judge.load import load_judge
from taosr_she.serve.find import find_model
from taosr_she.serve.replies import unit

BODY_BYTES = 256 * 1024
CLOSE = 1e-3
"""Difference of probabilities that rounding may cause in float32; larger ones are wrong answers."""
RELOAD_EVERY = 5.0
"""Seconds between two reloads: a signal and the endpoint in turn."""
KILLS = 3
"""Number of kill -9, evenly over the time."""
JSON = {"content-type": "application/json"}


class Supervisor:
    """Starts the service, and starts it again when it dies, as systemd would."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.command = [sys.executable, "-m", OURS, json.dumps(settings)]
        self.url = f"http://127.0.0.1:{settings['port']}"
        self.over = threading.Event()
        self.starts = 0
        self.down: list[list[float]] = []  # begin and end of every time without a service
        self.memory: list[list[tuple[float, float]]] = []  # of every life: seconds, MiB
        self.process = self._start()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()

    def kill(self) -> None:
        """kill -9; the service is down from now until it answers again."""
        self.down.append([time.monotonic(), float("inf")])
        self.process.kill()

    def was_down(self, begin: float, end: float) -> bool:
        """Whether the service was down at some time in between."""
        return any(begin <= up and end >= down for down, up in self.down)

    def stop(self) -> int:
        """SIGTERM. Returns the exit code."""
        self.over.set()
        self.thread.join()
        self.process.terminate()
        return self.process.wait(60)

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.starts += 1
        self.memory.append([])
        while True:
            try:
                if httpx.get(f"{self.url}/readyz", timeout=5, trust_env=False).status_code == 200:
                    break
            except httpx.TransportError:
                if process.poll() is not None:
                    raise UserError(f"soak: the service did not start: {' '.join(self.command)}") from None
            time.sleep(0.05)
        if self.down:
            self.down[-1][1] = time.monotonic()
        return process

    def _watch(self) -> None:
        while not self.over.wait(0.5):
            if self.process.poll() is not None:
                self.process = self._start()
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
            self.memory[-1].append((time.monotonic(), pages * os.sysconf("SC_PAGE_SIZE") / 2**20))


class Clients:
    """What clients do, and what they found."""

    def __init__(self, supervisor: Supervisor, bodies: list[dict[str, Any]], expected: dict[str, Any]) -> None:
        self.supervisor, self.bodies, self.expected = supervisor, bodies, expected
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.largest = 0.0  # difference of a probability
        self.lock = threading.Lock()
        self.kinds = [self.judge, self.judge, self.judge, self.rerank, self.stream, self.vanish, self.huge, self.bad]

    def run(self, seed: int, until: float) -> None:
        """Ask, each time in another way, until the time is over."""
        rng = random.Random(seed)
        http = httpx.Client(base_url=self.supervisor.url, timeout=60, trust_env=False)
        while time.monotonic() < until:
            kind, began = rng.choice(self.kinds), time.monotonic()
            try:
                outcome = kind(rng, http)
            except (httpx.TransportError, OSError) as error:
                outcome = f"{kind.__name__}: down"
                if not self.supervisor.was_down(began, time.monotonic()):
                    self._note_wrong(f"{kind.__name__} lost: {error!r}")
                http.close()
                http = httpx.Client(base_url=self.supervisor.url, timeout=60, trust_env=False)
                time.sleep(0.2)
            with self.lock:
                self.counts[outcome] += 1
        http.close()

    def judge(self, rng: random.Random, http: httpx.Client) -> str:
        body = self._some(rng)
        answer = http.post("/v1/judge", json=body)
        if answer.status_code == 200:
            for one in answer.json()["judgements"]:
                self._compare(one["id"], one["label"], one["probabilities"], one["error"])
        return self._status("judge", answer, (200, 429))

    def rerank(self, rng: random.Random, http: httpx.Client) -> str:
        body = self._some(rng)
        documents = [{k: v for k, v in c.items() if k != "id"} for c in body["candidates"]]
        answer = http.post("/v1/rerank", json={"query": body["query"], "documents": documents})
        if answer.status_code == 200:
            for result in answer.json()["results"]:
                alone = self.expected[body["candidates"][result["index"]]["id"]]
                if alone["score"] is not None and abs(result["relevance_score"] - alone["score"]) > CLOSE:
                    self._note_wrong(f"rerank: {result} instead of {alone['score']}")
        return self._status("rerank", answer, (200, 429))

    def stream(self, rng: random.Random, http: httpx.Client) -> str:
        leaves = rng.random() < 0.3
        with http.stream("POST", "/v1/judge", json=self._some(rng) | {"stream": True}) as answer:
            if answer.status_code != 200:
                answer.read()
                return self._status("stream", answer, (429,))
            name = ""
            for line in answer.iter_lines():
                name = line.removeprefix("event: ") if line.startswith("event: ") else name
                if name == "judgement" and line.startswith("data: "):
                    one = json.loads(line.removeprefix("data: "))
                    self._compare(one["id"], one["label"], one["probabilities"], one["error"])
                if leaves and name == "text":
                    return "stream: left"
        if name != "end" and not leaves:
            raise httpx.ReadError("the stream has no end")
        return "stream: 200"

    def vanish(self, rng: random.Random, http: httpx.Client) -> str:
        raw = json.dumps(self._some(rng)).encode()
        host, port = self.supervisor.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as client:
            head = f"POST /v1/judge HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(raw)}"
            client.sendall(f"{head}\r\n\r\n".encode() + raw[: rng.choice((len(raw), len(raw) // 2))])
            time.sleep(rng.random() * 0.05)
        return "vanish: left"

    def huge(self, rng: random.Random, http: httpx.Client) -> str:
        part = b"x" * 65536
        count = rng.randint(5, 40)
        content: Any = part * count if rng.random() < 0.5 else (part for _ in range(count))
        return self._status("huge", http.post("/v1/judge", content=content, headers=JSON), (413,))

    def bad(self, rng: random.Random, http: httpx.Client) -> str:
        raw = json.dumps(self._some(rng)).encode()
        cut = rng.choice((raw[: rng.randint(1, len(raw) - 1)], b'{"query": 1}', b"[" * 5000, b"\xff\xfe"))
        return self._status("bad", http.post("/v1/judge", content=cut, headers=JSON), (422,))

    def _some(self, rng: random.Random) -> dict[str, Any]:
        body = rng.choice(self.bodies)
        return {**body, "candidates": rng.sample(body["candidates"], rng.randint(1, len(body["candidates"])))}

    def _status(self, kind: str, answer: httpx.Response, right: tuple[int, ...]) -> str:
        if answer.status_code not in right:
            self._note_wrong(f"{kind}: status {answer.status_code}: {answer.text[:200]}")
        return f"{kind}: {answer.status_code}"

    def _compare(self, ident: str, label: Any, probabilities: Any, error: Any) -> None:
        alone = self.expected[ident]
        gap = max((abs(p - alone["probabilities"][c]) for c, p in (probabilities or {}).items()), default=0.0)
        with self.lock:
            self.counts["answers compared"] += 1
            self.largest = max(self.largest, gap)
        if (label, error) != (alone["label"], alone["error"]) or gap > CLOSE:
            self._note_wrong(f"{ident}: {label} {error} {probabilities} instead of {alone}")

    def _note_wrong(self, line: str) -> None:
        with self.lock:
            self.wrong.append(line)


def soak(console: Console, out: Path, model: str, minutes: float) -> None:
    """Soak for so long; print what happened and write `soak.json` and `soak.md`. Raises UserError if an answer was
    wrong or missing."""
    out.mkdir(parents=True, exist_ok=True)
    source, name = find_model(model)
    bodies = requests(queries=20, candidates=8)
    judge = load_judge(source, "cpu", "float32")
    grades = judge.domain.grade_values
    expected: dict[str, Any] = {}
    for body in bodies:
        rows = [{"query": body["query"], **c} for c in body["candidates"]]
        for row, alone in zip(rows, judge(rows), strict=True):
            score = None if alone.expected_grade is None else unit(grades, alone.expected_grade)
            judged = alone.label is not None
            expected[row["id"]] = {
                "label": alone.label, "probabilities": alone.probabilities, "error": alone.reason,
                "score": score if judged else 0.0,
            }  # fmt: skip
    settings = {
        "model": source, "name": "soak", "device": "cpu", "dtype": "float32", "port": free_port(),
        "body_bytes": BODY_BYTES, "queue": 400, "candidates": 20,
    }  # fmt: skip
    supervisor = Supervisor(settings)
    clients = Clients(supervisor, bodies, expected)
    began = time.monotonic()
    until = began + 60 * minutes
    threads = [threading.Thread(target=clients.run, args=(seed, until)) for seed in range(6)]
    for thread in threads:
        thread.start()
    reloads = _disturb(supervisor, began, until)
    for thread in threads:
        thread.join()
    while supervisor.was_down(now := time.monotonic(), now):
        time.sleep(0.1)
    page = httpx.get(f"{supervisor.url}/metrics", trust_env=False).text
    left = next(float(line.split()[-1]) for line in page.splitlines() if line.startswith("taosr_she_queue_candidates "))
    code = supervisor.stop()
    result = {
        "model": name, "minutes": minutes, "requests": dict(sorted(clients.counts.items())),
        "starts": supervisor.starts,
        "reloads": reloads, "wrong": clients.wrong[:50], "largest_difference": clients.largest, "exit_code": code,
        "left_in_queue": left, "memory": [_life(life) for life in supervisor.memory if len(life) > 20],
    }  # fmt: skip
    write_result(console, out, "soak", result, _table(result))
    if clients.wrong or code or left:
        raise UserError(f"soak: {len(clients.wrong)} wrong or lost, exit code {code}; {out / 'soak.json'} lists them")


def _disturb(supervisor: Supervisor, began: float, until: float) -> int:
    """Reload and kill the service until the time is over. Returns the number of reloads that were asked for."""
    kills = [began + (until - began) * n / (KILLS + 1) for n in range(1, KILLS + 1)]
    reloads = 0
    while time.monotonic() + RELOAD_EVERY < until:
        time.sleep(RELOAD_EVERY)
        if kills and time.monotonic() > kills[0]:
            kills.pop(0)
            supervisor.kill()
            continue
        try:
            if reloads % 2:
                httpx.post(f"{supervisor.url}/admin/reload", json={}, timeout=60, trust_env=False)
            else:
                supervisor.process.send_signal(signal.SIGHUP)
        except httpx.TransportError:
            continue  # down after a kill
        reloads += 1
    return reloads


def _life(life: list[tuple[float, float]]) -> dict[str, float]:
    """Memory of a life of the service: its level after the first quarter and at the end, and the slope in between."""
    seconds, used = (np.array(column) for column in zip(*life, strict=True))
    start = len(used) // 4
    slope = float(np.polyfit(seconds[start:], used[start:], 1)[0]) * 60
    return {
        "seconds": float(seconds[-1] - seconds[0]),
        "after_a_quarter": float(np.median(used[start : start + 10])),
        "end": float(np.median(used[-10:])),
        "mib_per_minute": slope,
    }


def _table(result: dict[str, Any]) -> str:
    counts = ", ".join(f"{kind} {count}" for kind, count in result["requests"].items())
    lives = "\n".join(
        f"- memory of a life of {life['seconds']:.0f} s: {life['after_a_quarter']:.0f} MiB after a quarter, "
        f"{life['end']:.0f} MiB at its end ({life['mib_per_minute']:+.1f} MiB a minute)"
        for life in result["memory"]
    )
    return (
        f"Soak of {result['minutes']:g} minutes with {result['model']}: {result['starts']} starts, {result['reloads']} "
        f"reloads.\n\n- {counts}\n- wrong or lost: {len(result['wrong'])}; largest difference of a probability "
        f"{result['largest_difference']:.1e}; left in the queue {result['left_in_queue']:.0f}; exit code "
        f"{result['exit_code']}\n{lives}\n"
    )
