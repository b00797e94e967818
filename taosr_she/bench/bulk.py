"""A bulk job that is killed again and again: is every pair judged once, is every file readable, is memory flat?"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from taosr_she.base.errors import UserError
from taosr_she.data.known import Known
from taosr_she.data.read import folder_files, read_rows
from taosr_she.data.validate import Accepted, PairStream
from taosr_she.domain.domain import Domain

_LOOK = 0.2  # seconds between two looks at the folder of parts


@dataclass
class Life:
    """One process of the job."""

    seconds: float
    peak_mb: float  # largest resident memory
    pairs: int  # in finished parts when it ended
    killed: bool


@dataclass
class BulkResult:
    """What was found. `pairs` are in the output, `seconds` are those of all lives together."""

    lives: list[Life] = field(default_factory=list)
    pairs: int = 0
    seconds: float = 0.0
    once: bool = False  # whether the output has every usable pair of the input once, in its order


def killed_job(
    options: list[str], pairs: Path, out: Path, domain: Domain, kills: int, say: Callable[[str], None], seed: int = 1
) -> BulkResult:
    """Run `taosr-she judge OPTIONS --out OUT` and kill it (SIGKILL) `kills` times, evenly spread over the pairs; then
    let it come to its end. `options` start with model and pairs, as on the command line.

    After every kill all parts are read: UserError if one is not readable, if the job fails by itself, or if it is at
    its end before the last kill.
    """
    if out.exists() or out.with_name(f"{out.name}.parts").exists():
        raise UserError(f"{out}: exists, or its parts do; name another --out")
    expected = sum(1 for _ in _ids(pairs, domain))
    folder, draw, result = out.with_name(f"{out.name}.parts"), random.Random(seed), BulkResult()
    for life in range(kills + 1):
        target = expected * (life + 1) // (kills + 1) if life < kills else None
        started = time.monotonic()
        child = subprocess.Popen([sys.executable, "-m", "taosr_she.cli", "judge", *options, "--out", str(out)])
        ended, status, usage = 0, 0, None
        while not ended:
            ended, status, usage = os.wait4(child.pid, os.WNOHANG)
            if not ended and target is not None and len(list(folder.glob("part-*"))) * 1024 >= target:
                time.sleep(draw.uniform(0, 3))
                os.kill(child.pid, signal.SIGKILL)
                target = None
            time.sleep(_LOOK)
        child.returncode = os.waitstatus_to_exitcode(status)
        killed = child.returncode == -signal.SIGKILL
        if not killed and child.returncode != 0:
            raise UserError(f"the job failed with exit code {child.returncode}; its message is above")
        if killed == (life == kills):
            raise UserError(f"{out}: the job ended in life {life + 1} of {kills + 1}; judge more pairs")
        done = sum(1 for part in folder_files(folder) for _ in read_rows(part)) if killed else expected
        result.lives.append(Life(time.monotonic() - started, usage.ru_maxrss / 1024 if usage else 0.0, done, killed))
        say(f"life {life + 1}: {'killed' if killed else 'ended'}, {done} pairs in readable parts, "
            f"peak {result.lives[-1].peak_mb:.0f} MB")  # fmt: skip
    result.pairs = expected
    result.seconds = sum(life.seconds for life in result.lives)
    result.once = all(a == b for a, b in zip_longest(_ids(pairs, domain), _written(out)))
    return result


def _ids(pairs: Path, domain: Domain) -> Iterator[str]:
    for found in PairStream(pairs, domain).checked(Known()):
        if isinstance(found, Accepted):
            yield found.pair.pair_id


def _written(out: Path) -> Iterator[str]:
    for _, row in read_rows(out):
        if isinstance(row, dict):
            yield row["pair_id"]
