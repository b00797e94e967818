"""A store with many items for the benchmarks, and a server on it in a process of its own."""

import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from taosr_she.annotate.desk import Desk
from taosr_she.annotate.items import Item, add_items
from taosr_she.annotate.people import add_person
from taosr_she.base.errors import UserError
from taosr_she.data.market.market import MarketConfig, generate_market
from taosr_she.domain.domain import load_domain
from taosr_she.domain.response import parse_response

PEOPLE = ("ada", "ben", "cleo", "dan", "eve")
START_SECONDS = 60


def chromium() -> str:
    """The browser of this machine. Raises UserError without one."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    raise UserError("no chromium, chromium-browser or google-chrome on this machine: install one")


def fill(path: Path, items: int, double: float = 0.1) -> dict[str, str]:
    """A store with so many items, made of a few hundred market responses; returns name -> token of five annotators."""
    domain = load_domain("taobao")
    market = generate_market(
        MarketConfig(demonstration_pairs=400, training_pairs=2, development_pairs=2, test_pairs=0), seed=1
    )
    pairs = {pair.pair_id: pair for pair in market.pairs["demonstration"]}
    known = [(pairs[d.pair_id], parse_response(domain, d.response)) for d in market.demonstrations]
    with Desk(path) as desk:
        desk.use_domain(domain)
        made = []
        for n in range(items):
            pair, response = known[n % len(known)]
            steps = tuple(step.text if step else None for step in response.steps)
            wanted = 2 if n % round(1 / double) == 0 else 1
            made.append(Item(pair, domain.step_keys, response_id=f"r{n}", steps=steps, wanted=wanted))
        add_items(desk, made)
        return {name: add_person(desk, name) for name in PEOPLE}


@contextmanager
def serving(path: Path) -> Iterator[str]:
    """`taosr-she annotate serve` on a free port; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "taosr_she.cli", "annotate", "serve", str(path), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(process, address)
        yield address
    finally:
        process.terminate()
        process.wait()


def _wait(process: "subprocess.Popen[bytes]", address: str) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise UserError(f"the server ended with code {process.returncode} before it answered")
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except urllib.error.URLError:
            time.sleep(0.05)
    raise UserError(f"the server did not answer within {START_SECONDS} seconds")
