"""Judging on Ray: what is refused in one line, and real jobs on a local Ray whose processes are killed."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from taosr_she.base.errors import UserError
from taosr_she.data.read import read_pairs
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.prompt import render_prompt
from taosr_she.judge.bulk import on_ray
from taosr_she.judge.bulk.on_ray import Asked, Cluster, JudgeActor, asked_of, check_address, device_of
from taosr_she.judge.bulk.run import Order
from taosr_she.judge.judgement import judgement_columns
from taosr_she.judge.pairs import greedy, judge_pairs
from taosr_she.model.policy import load_policy, save_policy
from taosr_she.model.tiny import TinyConfig, build_tiny

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="the extra `ray` is not installed")
TINY = TinyConfig(hidden=32, layers=1, heads=2, kv_heads=1, ffn=32, vocab_size=600, max_positions=1024)
COUNT = 3_000


@pytest.fixture(scope="module")
def domain() -> Domain:
    return load_domain("esci").with_overrides({"prompt": {"instruction": "", "show_rules": False}})


@pytest.fixture(scope="module")
def model(domain: Domain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, for a domain with a short prompt."""
    pairs = [Pair(f"p{i}", "q", f"boots {i}", Product("red boots")) for i in range(9)]
    folder = tmp_path_factory.mktemp("models") / "random"
    save_policy(build_tiny([render_prompt(domain, p) for p in pairs], domain, TINY, 1), folder)
    return folder


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is checked before Ray is imported is the same with and without it."""
    monkeypatch.setattr(on_ray, "find_spec", lambda name: object())


def test_without_the_extra_the_message_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"--ray: Ray is not installed; .*pip install 'taosr-she\[ray\]'"):
        check_address("auto")


@pytest.mark.parametrize("address", ["nowhere", "host:", ":6379", "host:port", "host:70000"])
def test_an_address_that_is_none_is_told(address: str, installed: None) -> None:
    with pytest.raises(UserError, match=f"--ray {address}: expected local, auto, or HOST:PORT"):
        check_address(address)


def test_an_address_that_does_not_answer_is_told(installed: None) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, and nobody listens
        port = unused.getsockname()[1]
        with pytest.raises(UserError, match=rf"--ray 127.0.0.1:{port}: does not answer \(Connection refused\)"):
            check_address(f"127.0.0.1:{port}")
    with pytest.raises(UserError, match="--ray ray://h:10001: Ray's client is not supported"):
        check_address("ray://h:10001")


def test_the_device_is_what_the_cluster_has() -> None:
    assert device_of(Cluster("auto", 8, 0), "auto") == device_of(Cluster("auto", 8, 2), "cpu") == "cpu"
    assert device_of(Cluster("auto", 8, 2), "auto") == device_of(Cluster("auto", 8, 2), "cuda") == "cuda"
    with pytest.raises(UserError, match="--device cuda: the cluster at --ray auto has no GPU"):
        device_of(Cluster("auto", 8, 0), "cuda")
    with pytest.raises(UserError, match="--device cuda:1: with --ray it is auto, cpu or cuda"):
        device_of(Cluster("auto", 8, 2), "cuda:1")


def test_an_actor_judges_as_this_process_does_and_refuses_another_model(
    model: Path, domain: Domain, tmp_path: Path
) -> None:
    order = Order(tmp_path / "p.jsonl", tmp_path / "o", tmp_path / "q", str(model), domain, "cpu", max_new_tokens=2)
    asked = asked_of(order)
    pairs = [Pair(f"p{i}", "q", f"boots {i}", Product("red boots")) for i in range(5)]
    own = judge_pairs(load_policy(model, "cpu", "auto"), domain, pairs, greedy(2), 5).judgements
    assert JudgeActor(asked).judge(pairs) == [judgement_columns(domain, judged) for judged in own]
    for changed, message in (
        ({"version": "0.0.1"}, r"has taosr-she .*, and this is 0.0.1; install the same"),
        ({"weights": "0" * 16}, r"the files of .*random differ from those where the job was started"),
        ({"model": str(tmp_path / "gone")}, r"gone: no such folder; it must have the same path on every machine"),
    ):
        other: Asked = replace(asked, **changed)
        with pytest.raises(UserError, match=message):
            JudgeActor(other).load()


def command(model: Path, pairs: Path, out: Path, *more: str) -> list[str]:
    judge = [sys.executable, "-m", "taosr_she.cli", "judge", str(model), str(pairs), "--out", str(out)]
    return [*judge, "--max-new-tokens", "2", *more]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    rows = ({"query": f"boots {n // 5}", "title": "" if n % 100 == 99 else f"red boots {n}"} for n in range(COUNT))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


class Job:
    """A job on a local Ray, whose lines are read while it runs."""

    def __init__(self, arguments: list[str]) -> None:
        # Ray's workers would be nicer than all else on the machine: where it is busy, they would hardly begin.
        env = os.environ | {"RAY_worker_niceness": "0"}
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(self.process.stdout)

    def wait_for(self, found: Callable[[], object], seconds: float = 240) -> None:
        until = time.monotonic() + seconds
        while not found():
            assert self.process.poll() is None and time.monotonic() < until, "".join(self.lines)
            time.sleep(0.02)

    def ended(self) -> int:
        code = self.process.wait(300)
        self._reader.join()
        return code

    def actors(self) -> list[int]:
        """The processes of the actors that have the model."""
        return [int(found[1]) for line in list(self.lines) if (found := re.search(r"model \(process (\d+)\)", line))]


def judged(folder: Path) -> int:
    return sum(1 for path in folder.glob("_open-*") for _ in path.open()) + 16 * len(list(folder.glob("part-*")))


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_with_an_actor_killed_every_pair_is_judged_once_and_the_bytes_are_the_same(
    model: Path, pairs: Path, tmp_path: Path
) -> None:
    subprocess.run(command(model, pairs, tmp_path / "alone.parquet"), check=True, stdout=subprocess.DEVNULL)
    out = tmp_path / "judged.parquet"
    job = Job(command(model, pairs, out, "--ray", "local", "--actors", "2"))
    job.wait_for(lambda: len(job.actors()) == 2 and judged(tmp_path / "judged.parquet.parts") > 2)
    os.kill(job.actors()[0], signal.SIGKILL)
    assert job.ended() == 0, "".join(job.lines)
    assert out.read_bytes() == (tmp_path / "alone.parquet").read_bytes()
    ids = [pair.pair_id for pair in read_pairs(out)]
    assert len(set(ids)) == len(ids) == COUNT * 99 // 100


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_job_on_ray_that_is_killed_itself_goes_on_without_ray(model: Path, pairs: Path, tmp_path: Path) -> None:
    subprocess.run(command(model, pairs, tmp_path / "alone.csv"), check=True, stdout=subprocess.DEVNULL)
    out, folder = tmp_path / "judged.csv", tmp_path / "judged.csv.parts"
    job = Job(command(model, pairs, out, "--ray", "local"))
    job.wait_for(lambda: judged(folder) > 5)
    job.process.kill()
    job.ended()
    assert not out.exists()
    last = subprocess.run(command(model, pairs, out), check=True, capture_output=True, text=True)
    before = re.search(r"(\d+) of 2970 pairs are judged already", last.stdout)
    assert before is not None and int(before[1]) >= 5 * 64
    assert out.read_bytes() == (tmp_path / "alone.csv").read_bytes()
