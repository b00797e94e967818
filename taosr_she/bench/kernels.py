"""Profile of a call on a GPU: number of kernel launches, busy time, and time by kind of kernel."""

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

KINDS: dict[str, tuple[str, ...]] = {
    "attention": ("flash", "fmha", "attention"),
    "matrix products": ("gemm", "gemv", "nvjet", "cutlass", "cublas", "splitk", "xmma"),
    "optimizer": ("multi_tensor", "adam", "foreach"),
    "copying, filling, joining, picking": ("memcpy", "memset", "copy", "fill", "cat", "index", "gather", "scatter"),
}
"""Kind of kernel -> parts of kernel names; the first match counts. All others are element-wise work and sums."""
LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx", "cudaGraphLaunch")
"""Calls by which the processor launches work on the device."""
REST = "element-wise work and sums"


def watch_kernels(call: Callable[[], object]) -> dict[str, Any]:
    """`launches`, `busy` seconds of the device, `shares` of these by kind, the twelve `longest` kernels (seconds)."""
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], acc_events=True) as watched:
        call()
        torch.cuda.synchronize()
    spent: dict[str, float] = {}
    launches = 0
    for event in watched.key_averages():
        if event.device_type == DeviceType.CUDA:
            spent[event.key] = spent.get(event.key, 0.0) + event.self_device_time_total / 1e6
        elif event.key in LAUNCHES:
            launches += event.count
    busy = sum(spent.values())
    shares = dict.fromkeys((*KINDS, REST), 0.0)
    for name, seconds in spent.items():
        shares[kind_of(name)] += seconds / busy
    longest = sorted(spent.items(), key=lambda item: -item[1])[:12]
    return {"launches": launches, "busy": busy, "shares": shares, "longest": {n[:120]: s for n, s in longest}}


def kind_of(kernel: str) -> str:
    """The kind of a kernel, by its name."""
    name = kernel.lower()
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), REST)
