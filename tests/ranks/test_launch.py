"""What a process is told by torchrun, and what it may not be asked for."""

import os
import time

import pytest
import torch
from toy_ranks import led, told

from taosr_she.base.errors import UserError
from taosr_she.ranks.group import Launched, Lost, launched
from taosr_she.ranks.replicas import Change, Changes, Receiver, Sender, TensorShape
from taosr_she.ranks.work import cut, deal, everywhere, processes, split


def test_only_several_processes_are_a_group() -> None:
    assert launched({}) is None and launched(told(0, 1, 1)) is None
    assert launched(told(1, 4, 1)) == Launched(1, 4, 1, 4)
    assert launched({"WORLD_SIZE": "4", "RANK": "1"}) is None  # of some scheduler, without a place to meet


def test_alone_everything_is_one_call() -> None:
    assert deal([1, 2, 3]) == cut([1, 2, 3]) == [[1, 2, 3]]
    assert split(lambda share, more: [*share, more], [], deal([1, 2]), 3) == [[1, 2, 3]]
    assert everywhere(lambda a, b: a + b, [1], 2) == [3]


def test_a_process_that_is_killed_is_missed_at_once() -> None:
    with led(2) as (other,):
        assert processes() == 2 and everywhere(os.getpid, []) == [os.getpid(), other.pid]
        other.kill()
        other.wait()
        started = time.monotonic()
        with pytest.raises(Lost, match=r"process 1 of the 2 of this run has ended .* start it again"):
            everywhere(os.getpid, [])
        assert time.monotonic() - started < 5
    assert processes() == 1


def test_a_process_without_a_gpu_cannot_follow_one() -> None:
    shape = TensorShape((2,), torch.float32, True, True, True)
    with pytest.raises(UserError, match="more processes than GPUs on a machine: start one for each GPU"):
        Receiver(torch.device("cpu")).prepare(Changes([Change(0, b"", (shape,), (0,), None)]))


def test_a_model_that_cannot_be_sent_says_so() -> None:
    class Local(torch.nn.Module):
        pass

    sender = Sender()
    with pytest.raises(UserError, match=r"Local cannot be copied to other processes .*: run it in one process"):
        sender.changes([Local()])
    sender.close()
