"""Limits of the machine and needs of a step: matrix rate, peak memory of a call, floating-point operations."""

import ctypes
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch


def wait_for(device: torch.device) -> None:
    """Return when the device has finished: a GPU call returns before its work is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_rate(
    size: int = 1536, seconds: float = 1.0, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> float:
    """Floating-point operations per second of a large matrix product with torch's threads: the best rate measured."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        c = a @ b
        wait_for(c.device)
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def needed_operations(config: Any, prompts: int, prompt: int, group: int, response: int, live: float = 1.0) -> float:
    """Floating-point operations (multiplications and additions) of one step when nothing is computed twice.

    In generation every prompt and every token is processed once. The update runs the share `live` of the groups forward
    and backward (three times the forward pass). `config` is that of a Qwen3-like model. Element-wise work is not
    counted.
    """
    heads, kv, depth, hidden = (
        config.num_attention_heads, config.num_key_value_heads, config.head_dim, config.hidden_size,
    )  # fmt: skip
    layer = hidden * depth * (2 * heads + 2 * kv) + 3 * hidden * config.intermediate_size
    tokens = prompts * (prompt + group * response)
    looks = prompts * (prompt * prompt / 2 + group * response * (prompt + response / 2))  # pairs of tokens
    body = config.num_hidden_layers * (2 * tokens * layer + 4 * looks * heads * depth)
    head = 2 * prompts * group * response * hidden * config.vocab_size
    return (body + head) * (1 + 3 * live)


class PeakMemory:
    """Peak increase of the process's resident memory in a block, in bytes, sampled every 5 milliseconds.

    Needs Linux with glibc; on other systems `rise` stays 0.
    """

    def __enter__(self) -> "PeakMemory":
        self.rise = 0
        if sys.platform == "linux":  # return freed memory to the system, so it does not hide the increase
            ctypes.CDLL(None).malloc_trim(0)
        self._over = threading.Event()
        self._start = resident()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self.rise = max(self.rise, resident() - self._start)


def resident() -> int:
    """Resident memory of this process in bytes; 0 if the system does not report it."""
    file = Path("/proc/self/statm")
    return int(file.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if file.exists() else 0
