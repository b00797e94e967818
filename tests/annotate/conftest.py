"""A store with items, real servers, a real browser, and people with links."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from annotation_page import ARGUMENTS, CHROMIUM, DOMAIN, Served, Server, plain_item

from taosr_she.annotate.desk import Desk
from taosr_she.annotate.items import add_items
from taosr_she.annotate.people import add_person
from taosr_she.domain.domain import Domain


@pytest.fixture(scope="session")
def domain() -> Domain:
    return DOMAIN


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk with ten items that one person each annotates."""
    with Desk(tmp_path / "people.db") as opened:
        opened.use_domain(DOMAIN)
        add_items(opened, [plain_item(n) for n in range(1, 11)])
        yield opened


@pytest.fixture
def new_server() -> Iterator[Callable[[Path], Server]]:
    started: list[Server] = []

    def start(store: Path) -> Server:
        started.append(Server(store).start())
        return started[-1]

    yield start
    for server in started:
        if server.process is not None and server.process.poll() is None:
            server.kill()


@pytest.fixture
def served(desk: Desk) -> Iterator[Served]:
    """The desk behind HTTP, in this process."""
    running = Served(desk)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def driver() -> Iterator:
    """Playwright, which can run once at a time. While it is open, no other test can run an event loop."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: the annotation page is not looked at in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(driver) -> Iterator:
    opened = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
    yield opened
    opened.close()


@pytest.fixture
def link(desk: Desk) -> Callable[..., str]:
    """`link("ann")` is the part after `#` of ann's link."""
    return lambda name, role="annotator": add_person(desk, name, role)
