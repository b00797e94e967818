"""Set-up of all tests: one thread, no network, a modest number of random examples.

Tests with the marker `fuzz` give random input to what reads the world. They are part of the fast tests; to search on,
`HYPOTHESIS_PROFILE=long python -m pytest -m fuzz TEST` repeats each of them for FUZZ_SECONDS (600 unless set) and
prints how many examples that were.
"""

import os

# Before torch is imported anywhere. One thread: tests run beside other work, and sums then add up in one fixed order.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "taosr")
FUZZ_SECONDS = float(os.environ.get("FUZZ_SECONDS", "600"))

settings.register_profile("taosr", deadline=None, max_examples=50)
settings.register_profile(
    "long", deadline=None, max_examples=1000, derandomize=False, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(PROFILE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if PROFILE == "long":
        for item in items:
            item.add_marker(pytest.mark.timeout(FUZZ_SECONDS + 600))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Under the long profile a fuzz test is called, with new random examples, until its time is over."""
    if PROFILE != "long" or pyfuncitem.get_closest_marker("fuzz") is None:
        return None
    test = pyfuncitem.obj
    inner = test.hypothesis.inner_test
    examples = 0

    @functools.wraps(inner)
    def counted(*args, **kwargs):
        nonlocal examples
        examples += 1
        return inner(*args, **kwargs)

    test.hypothesis.inner_test = counted
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    end = time.monotonic() + FUZZ_SECONDS
    try:
        while time.monotonic() < end:
            test(**arguments)
    finally:
        test.hypothesis.inner_test = inner
        pyfuncitem.user_properties.append(("examples", examples))
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            for name, count in report.user_properties:
                if name == "examples" and report.when == "call":
                    terminalreporter.write_line(
                        f"{report.nodeid}: {count} examples in {report.duration:.0f} s, {outcome}"
                    )


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets that lie beside the repository; tests that need them skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no shared/data folder beside the repository: the real data sets are not here")
    return folder


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`cli("judge", ...)` gives exit code, standard output and standard error."""
    from taosr_she.cli import main

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["taosr-she", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0), *capsys.readouterr()

    return call
