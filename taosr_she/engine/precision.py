"""Whether to compute in bfloat16: what the processor is made for, and what size of model gains by it."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch

WORTH = 5e6
"""Weights from which bfloat16 is faster on a CPU that multiplies it, sampling included (docs/performance.md). Smaller
models spend their time between the products, and rounding is one more operation."""

FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""Instructions that multiply bfloat16, as Linux and torch name them. Without them torch computes it by way of float32:
right, and slower than float32. What Arm has was not measured: `auto` leaves it alone."""


@cache
def multiplies_bfloat16() -> bool:
    """Whether this machine's processor multiplies bfloat16 itself, as torch says, or the flags in /proc/cpuinfo where
    this torch does not tell."""
    if not torch.backends.mkldnn.is_available():
        return False
    told = getattr(torch.cpu, "get_capabilities", None)
    if told is not None:
        return any(told().get(flag, False) for flag in FLAGS)
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.is_file() and not FLAGS.isdisjoint(cpuinfo.read_text("utf-8").split())


def in_bfloat16(device: torch.device, weights: float, precision: str = "auto") -> bool:
    """Whether a model of so many weights is computed in bfloat16 on this device; `precision` is auto, float32 or
    bfloat16."""
    if precision != "auto":
        return precision == "bfloat16"
    return device.type == "cuda" or (device.type == "cpu" and weights >= WORTH and multiplies_bfloat16())


@contextmanager
def computing(model: Any, precision: str = "auto") -> Iterator[None]:
    """Inside, products are computed in bfloat16, from float32 weights, where `in_bfloat16` says so."""
    device = model.get_input_embeddings().weight.device
    if not in_bfloat16(device, count_weights(model), precision):
        yield
        return
    with torch.autocast(device.type, dtype=torch.bfloat16):
        yield


def count_weights(model: Any) -> int:
    """How many weights a model has, those that it uses twice once."""
    return sum(p.numel() for p in model.parameters())
