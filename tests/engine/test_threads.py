import pytest
import torch

from taosr_she.engine import threads
from taosr_she.engine.threads import generating, idle_threads_sleep


@pytest.fixture(autouse=True)
def two_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("turns", "policy", "sleep"),
    [("", "", False), ("1000", "", True), ("1000000", "", False), ("infinity", "", False), ("", "PASSIVE", True)],
)
def test_whether_idle_threads_sleep(monkeypatch: pytest.MonkeyPatch, turns: str, policy: str, sleep: bool) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", turns)
    monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    assert idle_threads_sleep() is sleep


def test_a_small_model_generates_on_one_thread_and_the_number_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "idle_threads_sleep", lambda: True)
    with pytest.raises(ZeroDivisionError), generating(torch.nn.Linear(10, 10), 8):
        assert torch.get_num_threads() == 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("sleep", "rows"), [(False, 8), (True, 10_000_000)])
def test_elsewhere_the_number_stays(monkeypatch: pytest.MonkeyPatch, sleep: bool, rows: int) -> None:
    monkeypatch.setattr(threads, "idle_threads_sleep", lambda: sleep)
    with generating(torch.nn.Linear(10, 10), rows):
        assert torch.get_num_threads() == 2
