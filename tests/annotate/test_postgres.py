"""The store in PostgreSQL, on a real server: several processes at once, and one that dies."""

import subprocess
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy
from annotation_page import DOMAIN, Server, plain_item

from taosr_she.annotate.answers import take_in
from taosr_she.annotate.desk import Desk
from taosr_she.annotate.items import add_items
from taosr_she.annotate.pool import hand_out
from taosr_she.annotate.wire import Answer
from taosr_she.bench.annotate.load import write
from taosr_she.bench.annotate.store import fill

pytestmark = pytest.mark.slow
PEOPLE = ("ann", "bob", "cleo", "dan", "eve")


@pytest.fixture(scope="module")
def new_base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """Makes an empty database and gives its URL."""
    pgserver = pytest.importorskip("pgserver", reason="PostgreSQL is missing: pip install pgserver psycopg-binary")
    pytest.importorskip("psycopg", reason="PostgreSQL's driver is missing: pip install psycopg psycopg-binary")
    server, error = None, None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a runtime folder, and says so
        for _ in range(3):  # on a busy machine its start takes longer than it waits
            try:
                server = pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")
                break
            except (OSError, RuntimeError, subprocess.SubprocessError) as found:
                error = found
    if server is None:
        pytest.skip(f"PostgreSQL does not start on this machine: {error}")
    root = sqlalchemy.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(root, isolation_level="AUTOCOMMIT")

    def make() -> str:
        name = f"people_{uuid4().hex[:8]}"
        with engine.connect() as connection:
            connection.exec_driver_sql(f"create database {name}")
        return root.set(database=name).render_as_string(hide_password=False)

    yield make
    engine.dispose()
    server.cleanup()


def test_processes_of_their_own_never_hold_the_same_item_and_lose_nothing(new_base: Callable[[], str]) -> None:
    url = new_base()
    with Desk(url) as desk:
        desk.use_domain(DOMAIN)
        add_items(desk, [plain_item(n) for n in range(1, 61)])

    def work(person: str) -> list[int]:
        mine: list[int] = []
        with Desk(url) as own:  # its own connections and its own lock, as in a process of its own
            while held := hand_out(own, person, 4):
                for number in held:
                    answers = [
                        Answer(kind="judge", key=f"{person}-{number}-{step}", item=number, step=step, verdict="correct")
                        for step in DOMAIN.step_keys
                    ]
                    assert not take_in(own, DOMAIN, person, answers).refused
                    assert not take_in(own, DOMAIN, person, answers).refused  # sent twice
                    mine.append(number)
        return mine

    with ThreadPoolExecutor(len(PEOPLE)) as people:
        done = list(people.map(work, PEOPLE))
    assert sorted(n for mine in done for n in mine) == list(range(1, 61))
    with Desk(url) as desk:
        assert desk.store.count() == 60 * len(DOMAIN.step_keys)


def test_two_pages_of_one_person_that_leave_an_item_at_the_same_moment_give_it_back_once(
    new_base: Callable[[], str],
) -> None:
    """Through two servers: the lock of one process does not help."""
    url = new_base()
    with Desk(url) as desk:
        desk.use_domain(DOMAIN)
        add_items(desk, [plain_item(1)])
        assert list(hand_out(desk, "ann", 1)) == [1]
    both, seen = Barrier(2), []

    def wait(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        if statement.startswith("UPDATE annotate_assignments"):
            seen.append(statement)
            if len(seen) <= 2:  # both have read that ann holds it before either writes
                both.wait(timeout=20)

    def leave(key: str) -> None:
        with Desk(url) as own:
            assert not take_in(own, DOMAIN, "ann", [Answer(kind="leave", key=key, item=1)]).refused

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", wait)
    try:
        with ThreadPoolExecutor(2) as pages:
            list(pages.map(leave, ("leave-first-page", "leave-second-page")))
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", wait)
    with Desk(url) as desk:
        assert desk.read(lambda c: c.exec_driver_sql("select taken, open from annotate_items").one()) == (0, 1)


def test_writers_over_http_lose_nothing_when_the_server_dies(new_base: Callable[[], str]) -> None:
    url = new_base()
    tokens = fill(url, 400)
    one, other = dict(list(tokens.items())[:3]), dict(list(tokens.items())[3:])
    first = Server(url).start()
    before = write(first.url, url, one, 40, 5)
    first.kill()
    again = Server(url).start()
    try:
        after = write(again.url, url, other, 40, 5)
    finally:
        again.kill()
    assert before.sent == 120 and after.sent == 80
    with Desk(url) as desk:
        said = desk.read(
            lambda c: c.exec_driver_sql("select count(*), count(distinct person || key) from annotate_answers").one()
        )
        assert tuple(said) == (200, 200) and desk.store.count() == 200
