"""What the tests of the annotation page share: items, a file of examined responses, and a real server in a process."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
import uvicorn

from taosr_she.annotate.app import create_app
from taosr_she.annotate.desk import Desk
from taosr_she.annotate.items import Item
from taosr_she.data.market.market import MarketConfig, generate_market
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair, Product

DOMAIN = load_domain("taobao")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
SAVED = "#saving[data-waiting='0']"
"""What the page shows when everything is saved."""


def plain_item(number: int, **changes: Any) -> Item:
    """A small response to a small pair."""
    pair = Pair(f"p{number}", f"q{number}", f"red boot {number}", Product(f"norvik red boot {number}", price=45.0))
    texts = ("category: boots; color: red", "category: boots; brand: norvik", "same", "color: match", "4")
    return Item(**{"pair": pair, "asked": DOMAIN.step_keys, "response_id": f"r{number}", "steps": texts, **changes})


def examined_file(path: Path, pairs: int = 24, seed: int = 3) -> Path:
    """Responses of the market's teacher, two to a pair, with verdicts as a GSRM gives them."""
    market = generate_market(
        MarketConfig(demonstration_pairs=pairs, training_pairs=2, development_pairs=2, test_pairs=0), seed
    )
    rng = Random(seed)
    rows = []
    by_id = {pair.pair_id: pair for pair in market.pairs["demonstration"]}
    for demonstration in market.demonstrations:
        pair = by_id[demonstration.pair_id]
        for text in (demonstration.response, demonstration.response.replace("[category] same", "[category] near")):
            row = {
                "pair_id": pair.pair_id, "query_id": pair.query_id, "query": pair.query, "title": pair.product.title,
                "price": pair.product.price, "attributes": pair.product.attributes, "label": pair.label,
                "tags": list(pair.tags), "response": text,
            }  # fmt: skip
            row |= {f"verdict_{key}": round(rng.random(), 3) for key in DOMAIN.step_keys}
            row |= {f"source_{key}": "gsrm" for key in DOMAIN.step_keys}
            rows.append(row)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


class Served:
    """A desk served by a thread of this process: quicker to start than `Server`, for tests in which nobody dies."""

    def __init__(self, desk: Desk) -> None:
        config = uvicorn.Config(create_app(desk), host="127.0.0.1", port=0, log_level="warning", lifespan="off")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        self.server.should_exit = self.server.force_exit = True
        self.thread.join(10)


class Server:
    """`taosr-she annotate serve` in a process, which can be killed and started again on the same port."""

    def __init__(self, store: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.store = store
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Server":
        command = [sys.executable, "-m", "taosr_she.cli", "annotate", "serve", self.store, "--port", self.port]
        self.process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, env=os.environ.copy())
        for _ in range(400):
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with code {self.process.returncode}")
            try:
                httpx.get(self.url, timeout=1)
                return self
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError("the server did not answer within 20 seconds")

    def kill(self) -> None:
        """As a power switch would: without a word."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def opened(browser, server: "Served | Server", token: str, **context):
    page = browser.new_context(**context).new_page()
    page.set_default_timeout(20_000)
    page.goto(f"{server.url}/#{token}")
    page.wait_for_selector(".step[aria-current]")
    return page


def opened_lead(browser, server: "Served | Server", token: str):
    page = browser.new_context().new_page()
    page.goto(f"{server.url}/lead#{token}")
    page.wait_for_selector("#people table")
    page.wait_for_selector("#agreement > *")
    return page


def axe_violations(page) -> list[tuple[str, list[str]]]:
    """What axe-core finds on the page: the rule, and where it is broken."""
    package = pytest.importorskip(
        "axe_playwright_python", reason="axe-core is missing: pip install axe-playwright-python"
    )
    page.evaluate((Path(package.__file__).parent / "axe.min.js").read_text("utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [(violation["id"], [node["html"][:200] for node in violation["nodes"]]) for violation in found]
