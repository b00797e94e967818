"""Whether to compute in bfloat16: depends on the processor and on the size of the model."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch

WORTH = 5e6
"""Number of weights from which bfloat16 is faster, on a CPU that multiplies it, sampling included (see
docs/performance.md). Smaller models spend most of their time outside the products, and rounding is an extra
operation."""

FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""Instructions that multiply bfloat16, as named by Linux and torch. Without them, torch converts to float32: correct,
but slower than float32. Arm was not measured, so `auto` does not use bfloat16 there."""


@cache
def multiplies_bfloat16() -> bool:
    """Whether this machine's processor multiplies bfloat16 itself, as reported by torch or, if this version of torch
    does not report it, by the flags in /proc/cpuinfo."""
    if not torch.backends.mkldnn.is_available():
        return False
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    if capabilities is not None:
        return any(capabilities().get(flag, False) for flag in FLAGS)
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.is_file() and not FLAGS.isdisjoint(cpuinfo.read_text("utf-8").split())


def in_bfloat16(device: torch.device, weights: float, precision: str = "auto") -> bool:
    """Whether a model with this number of weights is computed in bfloat16 on this device. `precision` is auto, float32
    or bfloat16."""
    if precision != "auto":
        return precision == "bfloat16"
    return device.type == "cuda" or (device.type == "cpu" and weights >= WORTH and multiplies_bfloat16())


@contextmanager
def computing(model: Any, precision: str = "auto") -> Iterator[None]:
    """Compute products in bfloat16 from float32 weights inside the block, if `in_bfloat16` says so."""
    device = model.get_input_embeddings().weight.device
    if not in_bfloat16(device, count_weights(model), precision):
        yield
        return
    with torch.autocast(device.type, dtype=torch.bfloat16):
        yield


def count_weights(model: Any) -> int:
    """Number of weights of a model; shared weights count once."""
    return sum(p.numel() for p in model.parameters())
