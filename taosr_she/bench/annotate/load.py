"""Many verdicts at once: several writers over HTTP, while somebody reads the same store."""

import json
import threading
import time
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from taosr_she.examine.store import AnnotationStore

HELD = 50  # items that a writer holds


@dataclass(frozen=True)
class Load:
    """What was written, and how quickly."""

    sent: int  # verdicts that the server said it kept
    seconds: float
    reads: int  # whole passes of the reader
    counts: list[int]  # records that the reader found, pass by pass

    @property
    def rate(self) -> float:
        """Verdicts per second."""
        return self.sent / self.seconds


def write(address: str, store: Path, tokens: Mapping[str, str], each: int, batch: int) -> Load:
    """Every person sends `each` verdicts in requests of `batch`, all at once; a reader looks at the store meanwhile."""
    over = threading.Event()
    counts: list[int] = []

    def read() -> None:
        with AnnotationStore(store, create=False) as reader:
            while not over.is_set():
                counts.append(sum(1 for _ in reader.select(annotator="ada")))
                over.wait(0.2)

    reader = threading.Thread(target=read)
    reader.start()
    started = time.perf_counter()
    try:
        with ThreadPoolExecutor(len(tokens)) as people:
            sent = sum(people.map(lambda token: _work(address, token, each, batch), tokens.values()))
        seconds = time.perf_counter() - started
    finally:
        over.set()
        reader.join()
    return Load(sent, seconds, len(counts), counts)


def _work(address: str, token: str, each: int, batch: int) -> int:
    split = urlsplit(address)
    connection = HTTPConnection(split.hostname or "", split.port, timeout=60)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    kept = number = 0
    waiting: list[dict[str, Any]] = []
    while kept < each:
        if not waiting:
            found = _call(connection, "GET", f"/api/items?count={HELD}", headers)
            waiting = [
                {"kind": "judge", "item": item["id"], "step": step["key"], "verdict": "correct"}
                for item in found["items"]
                for step in item["steps"]
            ]
            if not waiting:
                break
        part, waiting = waiting[: min(batch, each - kept)], waiting[min(batch, each - kept) :]
        for answer in part:
            number += 1
            answer["key"] = f"key-{number:08d}"
        kept += len(_call(connection, "POST", "/api/answers", headers, {"answers": part})["saved"])
    return kept


def _call(connection: HTTPConnection, method: str, path: str, headers: dict[str, str], body: Any = None) -> Any:
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    content = json.loads(answer.read())
    if answer.status != 200:
        raise RuntimeError(f"{method} {path}: {answer.status} {content}")
    return content


def overview_seconds(address: str, token: str, path: str) -> float:
    """How long a request of the lead's page takes."""
    request = urllib.request.Request(address + path, headers={"Authorization": f"Bearer {token}"})
    started = time.perf_counter()
    urllib.request.urlopen(request, timeout=120).read()
    return time.perf_counter() - started
