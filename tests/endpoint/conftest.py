"""A real HTTP server on this machine that answers as a test says."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from toy_endpoint import Server, running

from taosr_she.endpoint.asker import Asker, Question
from taosr_she.endpoint.settings import EndpointConfig


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with running(Server(), monkeypatch) as server:
        yield server


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
