"""A bulk job that is killed at any moment, also in the middle of a write, and resumed: the same bytes, nothing lost."""

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_bulk import BATCH, run

from taosr_she.base.files import dumps
from taosr_she.data.read import read_pairs
from taosr_she.judge.bulk.job import RECORD
from taosr_she.judge.bulk.log import Log
from taosr_she.judge.bulk.run import Order

RIGHT = [n for n in range(37) if n % 10 != 9]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Killer:
    """Kills this process at the `moment`-th moment at which it changes the disk."""

    def __init__(self, moment: int) -> None:
        self.left = moment

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0

    def around(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def killed(*arguments: Any, **options: Any) -> Any:
            if self():
                die()
            done = change(*arguments, **options)
            if self():
                die()
            return done

        return killed

    def arm(self) -> None:
        for name in ("replace", "unlink", "rmdir", "mkdir"):
            setattr(Path, name, self.around(getattr(Path, name)))
        add, truncate = Log.add, os.truncate
        os.truncate = self.around(truncate)

        def half(log: Log, line: dict[str, Any], sync: bool) -> dict[str, Any]:
            if self():
                raw = dumps(line).encode()
                with log.path.open("ab") as file:
                    file.write(raw[: len(raw) // 2])
                    file.flush()
                die()
            return self.around(add)(log, line, sync)

        Log.add = half  # type: ignore[method-assign]


def in_child(order: Order, asked: Path, moment: int) -> bool:
    """Run in a process that dies at the moment. Whether it came to its end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            Killer(moment).arm()
            run(order, asked)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), "the job failed by itself"
    return status == 0


def check_readable(order: Order) -> None:
    """Every part is whole, and so is the output, if there is one."""
    for path in order.folder.glob(f"part-*{order.suffix}"):
        assert len(read_pairs(path)) in (8, len(RIGHT) % 8)
    if order.out.is_file():
        assert len(read_pairs(order.out)) == len(RIGHT)


def test_killed_at_some_moments_it_resumes_to_the_same_bytes(order: Callable[..., Order]) -> None:
    killed_and_resumed(order("o.jsonl"), step=9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["o.jsonl", "o.csv.gz", "o.parquet"])
def test_killed_at_every_moment_it_resumes_to_the_same_bytes(name: str, order: Callable[..., Order]) -> None:
    killed_and_resumed(order(name), step=1)


def killed_and_resumed(job: Order, step: int) -> None:
    run(job)
    expected, quarantine = job.out.read_bytes(), job.quarantine.read_bytes()
    asked, moment, ended = job.out.with_name("asked"), 0, False
    while not ended:
        for left in (job.out, job.quarantine, asked):
            left.unlink(missing_ok=True)
        ended = in_child(job, asked, moment)
        check_readable(job)
        over = job.out.is_file() and not (job.folder / RECORD).exists()  # nothing is left to know the job by
        run(job, asked)
        assert job.out.read_bytes() == expected and job.quarantine.read_bytes() == quarantine
        assert not job.folder.exists()
        counts = Counter(map(int, asked.read_text().split()))
        if not over:  # run again after its end, it starts over
            twice = [n for n, count in counts.items() if count > 1]
            assert sorted(counts) == RIGHT and len(twice) <= BATCH, f"killed at moment {moment}"
        moment += step
    assert moment > 80


def test_killed_again_and_again_it_still_comes_to_an_end(order: Callable[..., Order]) -> None:
    job = order("o.csv")
    run(job)
    expected = job.out.read_bytes()
    job.out.unlink()
    asked, lives = job.out.with_name("asked"), 1
    while not in_child(job, asked, 25 + lives):
        check_readable(job)
        lives += 1
    assert lives > 3 and job.out.read_bytes() == expected
    assert sorted(set(map(int, asked.read_text().split()))) == RIGHT


@pytest.mark.slow
def test_a_folder_of_parts_killed_at_every_moment(order: Callable[..., Order]) -> None:
    job = order("o.parquet", keep_parts=True)
    run(job)
    expected = {path.name: path.read_bytes() for path in sorted(job.folder.glob("part-*"))}
    assert len(expected) == 5
    asked, moment, ended = job.out.with_name("asked"), 0, False
    while not ended:
        for path in job.folder.iterdir():
            path.unlink()
        asked.unlink(missing_ok=True)
        ended = in_child(job, asked, moment)
        check_readable(job)
        run(job, asked)
        assert {path.name: path.read_bytes() for path in sorted(job.folder.glob("part-*"))} == expected
        assert len(asked.read_text().split()) <= len(RIGHT) + BATCH
        moment += 1
