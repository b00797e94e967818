"""`taosr-she serve` as a process: signals, reload, and mistakes in one line."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from toy_service import ADMIN_KEY, KEY, Process

from taosr_she import Judge

TITLES = [f"{color} boots" for color in ("red", "blue", "green", "grey")]
HEADERS = {"authorization": f"Bearer {KEY}"}
ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}


@pytest.fixture(scope="module")
def model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("served") / "model"
    shutil.copytree(folder, copy)
    return copy


@pytest.fixture(scope="module")
def service(model: Path, start: Callable[..., Process]) -> Process:
    """One process for the tests of this file; the last of them stops it."""
    (model.parent / "keys").write_text(f"{KEY}\n")
    return start(
        model, "--name", "boots", "--keys", model.parent / "keys", "--batch", 8, TAOSR_SHE_ADMIN_KEYS=ADMIN_KEY
    )


class Clients:
    """Clients that ask all the time, until they are refused or the connection breaks."""

    def __init__(self, url: str) -> None:
        self.found: list[Any] = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._ask, args=(url,)) for _ in range(3)]
        for thread in self.threads:
            thread.start()

    def _ask(self, url: str) -> None:
        with httpx.Client(base_url=url, timeout=30, headers=HEADERS) as own:
            while not self.stopping.is_set():
                try:
                    answer = own.post("/v1/judge", json={"query": "red boots", "candidates": TITLES})
                except httpx.TransportError as error:
                    self.found.append(("lost", repr(error)))
                    return
                labels = (
                    [one["label"] for one in answer.json()["judgements"]] if answer.status_code == 200 else answer.text
                )
                self.found.append((answer.status_code, labels))

    def answers(self) -> list[Any]:
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        return self.found


def test_a_reload_loses_no_request(service: Process, model: Path, judge: Judge) -> None:
    """Clients ask while the model is reloaded, overwritten in place, broken, and repaired."""
    alone = [judge({"query": "red boots", "title": title}).label for title in TITLES]
    clients = Clients(service.url)
    service.send(signal.SIGHUP)
    service.wait_for("reloaded boots in")
    weights, config = (model / "model.safetensors").read_bytes(), (model / "config.json").read_text()
    with (model / "model.safetensors").open("r+b") as file:  # the weights in use must not change with their file
        file.write(bytes(len(weights)))
    (model / "config.json").write_text("{")
    refused = httpx.post(f"{service.url}/admin/reload", json={}, timeout=30, headers=ADMIN)
    assert refused.status_code == 409 and "the old one goes on: model" in refused.json()["error"]["message"]
    (model / "config.json").write_text(config)
    (model / "model.safetensors").write_bytes(weights)
    done = httpx.post(f"{service.url}/admin/reload", json={}, timeout=30, headers=ADMIN)
    assert done.json()["status"].startswith("reloaded boots")
    page = httpx.get(f"{service.url}/metrics", headers=HEADERS).text
    assert 'reloads_total{outcome="done"} 2.0' in page and 'reloads_total{outcome="refused"} 1.0' in page
    found = clients.answers()
    assert len(found) > 5 and all(answer == (200, alone) for answer in found)


def test_sigterm_answers_what_was_accepted_and_refuses_the_rest(service: Process) -> None:
    body = json.dumps({"query": "red boots", "candidates": TITLES * 60})
    answers: list[httpx.Response] = []

    def client() -> None:
        own = {**HEADERS, "content-type": "application/json"}
        answers.append(httpx.post(f"{service.url}/v1/judge", content=body, headers=own, timeout=60))

    with httpx.Client(base_url=service.url, headers=HEADERS, timeout=30) as other:
        assert other.get("/v1/models").status_code == 200  # an open connection
        thread = threading.Thread(target=client)
        thread.start()
        while "queue_candidates 0.0" in other.get("/metrics").text:
            pass
        service.send(signal.SIGTERM)
        service.wait_for("stopping: ")
        refused = other.post("/v1/judge", json={"query": "a", "candidates": ["b"]})
        assert refused.status_code == 503 and "the service is stopping" in refused.json()["error"]["message"]
        assert httpx.get(f"{service.url}/readyz").status_code == 503
        thread.join()
    assert service.process.wait(30) == 0
    (answer,) = answers
    assert answer.status_code == 200 and len(answer.json()["judgements"]) == 240
    log = service.log.read_text()
    assert "all accepted requests were answered" in log and KEY not in log and ADMIN_KEY not in log


def test_mistakes_are_one_line_before_anything_is_loaded(
    folder: Path, cli: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TAOSR_SHE_KEYS", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for options, said in (
            ((folder, "--port", port), "cannot listen (Address already in use)"),
            ((folder, "--host", "0.0.0.0"), "can be reached by others, and there are no keys: give --keys FILE"),
            ((folder, "--keys", "nothing"), "nothing: the keys cannot be read"),
            (("nothing", "--port", 0), "model nothing: neither a folder, nor a run in runs/"),
            (("a/b", "--port", 0), "a/b"),
            ((folder, "--mode", "label", "--port", 0), "mode 'label' needs a domain with the label step first"),
            ((folder, "--mode", "both"), "mode: input should be 'reason' or 'label'"),
            ((folder, "--candidates", 9, "--queue", 8), "candidates (9) must not exceed queue (8)"),
            ((folder, "--field", "title"), "expected field=column"),
        ):
            code, _, err = cli("serve", *options)
            assert code == 2 and said.casefold() in err.casefold() and err.count("\n") == 1, err


def test_the_command_starts_without_heavy_imports() -> None:
    heavy = "{'torch', 'fastapi', 'uvicorn', 'pydantic'}"
    code = f"import sys, taosr_she.commands.serve; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
