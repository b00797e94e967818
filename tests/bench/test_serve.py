"""The benchmark of the service: its requests, its clients, and a soak of the toy judge."""

import json
from pathlib import Path

import pytest
from rich.console import Console
from toy_judge import domain, folder, judge, pairs  # noqa: F401
from toy_service import in_thread

from taosr_she import Judge
from taosr_she.base.errors import UserError
from taosr_she.bench.serve.load import Answered, closed, figures, opened, service
from taosr_she.bench.serve.measure import PLAIN, measure_serve
from taosr_she.bench.serve.soak import soak
from taosr_she.bench.serve.work import label_first, requests
from taosr_she.domain.domain import load_domain


def test_every_request_has_its_candidates() -> None:
    bodies = requests(queries=3, candidates=4)
    assert [len(body["candidates"]) for body in bodies] == [4, 4, 4]
    assert len({body["query"] for body in bodies}) == 3 and bodies == requests(3, 4)


def test_a_domain_with_its_label_first(tmp_path: Path) -> None:
    first = load_domain(label_first(load_domain("taobao"), tmp_path / "first.yaml"))
    assert first.label_step == 0 and first.step_keys == ("label", "query", "product", "category", "attributes")


def test_figures_count_what_was_answered() -> None:
    found = figures([Answered(200, 1.0, 20, 1.0), Answered(200, 3.0, 20, 4.0), Answered(429, 0.1, 0, 2.0)], 4.0)
    assert (found["candidates_per_second"], found["refused"], found["other"], found["p50"]) == (10.0, 1, 0, 2.0)


def test_closed_and_open_loop(judge: Judge) -> None:  # noqa: F811
    bodies = [{"query": "red boots", "candidates": ["red boots", "blue boots"]}]
    with in_thread(judge, queue=4, candidates=2) as running:
        one = closed(running.url, bodies, 2, 0.3)
        assert one["answered"] == one["requests"] >= 2 and one["p99"] > 0
        over = opened(running.url, bodies, 400, 0.3)
        assert over["requests"] == 120 and over["refused"] > 0 and over["answered"] > 0 and over["other"] == 0


def test_a_service_that_does_not_start_says_why() -> None:
    settings = {"model": "nothing", "domain": None, "force_domain": False, "dtype": "auto", "max_new_tokens": 8}
    with pytest.raises(UserError, match=r"did not start: .*nothing"), service(PLAIN, settings):
        pass


@pytest.mark.slow
def test_the_comparison(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    measure_serve(Console(), tmp_path, [str(folder)], 1, 0.5, 2, 1, 16)
    result = json.loads((tmp_path / "serve.json").read_text())["models"]["boots"]
    assert all(row["answered"] > 0 for row in result["figures"].values())
    assert result["figures"]["label"]["candidates_per_second"] > result["figures"]["plain"]["candidates_per_second"]
    assert "at twice the load" in (tmp_path / "serve.md").read_text().lower()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_soak_finds_nothing_wrong(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    soak(Console(), tmp_path, str(folder), 1.0)
    result = json.loads((tmp_path / "soak.json").read_text())
    assert result["starts"] >= 3 and result["reloads"] >= 3 and result["requests"]["answers compared"] > 100
    assert not result["wrong"]
