"""Number of threads for generation: one, if threads would spend the time of small operations waking up."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

SMALL = 1e9
"""Multiply-adds of a token step below which waking a sleeping thread costs more than it helps (docs/performance.md)."""

AWAKE = 100_000
"""Iterations of GNU OpenMP's waiting loop that bridge the gap between two operations."""


@contextmanager
def generating(model: Any, rows: int) -> Iterator[None]:
    """In this context, small models generate `rows` responses on one CPU thread, if idle threads may sleep."""
    threads = torch.get_num_threads()
    weights = sum(p.numel() for p in model.parameters())
    on_cpu = next(model.parameters()).device.type == "cpu"
    if not (on_cpu and idle_threads_sleep() and rows * weights < SMALL):
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def idle_threads_sleep() -> bool:
    """Whether idle OpenMP threads sleep soon, as they should on a machine with other work."""
    if os.environ.get("OMP_WAIT_POLICY", "").lower() == "passive":
        return True
    turns = os.environ.get("GOMP_SPINCOUNT", "")
    return turns.isdigit() and int(turns) < AWAKE
