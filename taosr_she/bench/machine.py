"""What the machine can do and what a step needs: matrix rate, memory watched over a call, floating-point operations."""

import ctypes
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch


def wait_for(device: torch.device) -> None:
    """A GPU works on after the call that asked for it has returned; come back when it is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_rate(
    size: int = 1536, seconds: float = 1.0, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> float:
    """Floating-point operations a second of a large matrix product, with the threads torch uses: the best."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        c = a @ b
        wait_for(c.device)
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def needed_operations(config: Any, prompts: int, prompt: int, group: int, response: int, live: float = 1.0) -> float:
    """Floating-point operations of one step when nothing is computed twice, in multiplications and additions.

    Every prompt is run once and every token once in generation; the update runs the share `live` of the groups forward
    and backward (three times the forward pass). `config` is that of a Qwen3-like model. Element-wise work is left out.
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
    """Highest rise of the process's resident memory in a block, in bytes, looked at every 5 milliseconds.

    Linux with glibc; on other systems `rise` stays 0.
    """

    def __enter__(self) -> "PeakMemory":
        self.rise = 0
        if sys.platform == "linux":  # memory that others have given back counts as free, not as there already
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
    """Resident memory of this process in bytes; 0 where the system does not tell."""
    file = Path("/proc/self/statm")
    return int(file.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if file.exists() else 0
