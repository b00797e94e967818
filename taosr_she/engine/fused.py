"""RMS norm, rotary embedding and gated activation in few passes over memory, with hand-written gradients.

Autograd would keep, read and write a tensor of the size of the activations for every small operation in these formulas.
Results and types are those of the modules of Hugging Face's Llama family. For training on a GPU they are compiled
instead (engine/compiled.py).
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu

from taosr_she.engine import compiled


def rms_norm(x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype | None = None) -> Tensor:
    """`weight * x / sqrt(mean(x^2) + eps)` over the last dimension of x (..., D), in float32 (Zhang and Sennrich 2019).

    weight (D,), or (H, D) for x (..., H, D). The result has type `dtype`, or else the common type of x and weight.
    """
    if compiled.compiles(x):
        return compiled.rms_norm(x, weight, eps, dtype or torch.promote_types(x.dtype, weight.dtype))
    out = _RmsNorm.apply(x, weight, eps) if torch.is_grad_enabled() else _normed(x, _inverse_rms(x, eps), weight)
    return out if dtype is None else out.to(dtype)


def norm_rotate(x: Tensor, weight: Tensor | None, eps: float, cos: Tensor, sin: Tensor, dtype: torch.dtype) -> Tensor:
    """The processing of heads (R, n, H, D): norm (if there is a weight), rotation, rounding to `dtype`."""
    if compiled.compiles(x):
        return compiled.norm_rotate(x, weight, eps, cos, sin, dtype)
    return rotate(x if weight is None else rms_norm(x, weight, eps), cos, sin).to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding of x (..., D): `x * cos + swapped(x) * sin`, halves of the last dimension swapped.

    `sin` has its first half negated (see `signed`). cos and sin get no gradient.
    """
    return _Rotate.apply(x, cos, sin) if torch.is_grad_enabled() else _rotated(x, cos, sin)


def signed(sin: Tensor) -> Tensor:
    """The form of `sin` that `rotate` takes: (-x2, x1) * sin equals (x2, x1) * signed(sin)."""
    first, second = sin.chunk(2, dim=-1)
    return torch.cat([-first, second], dim=-1)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """`silu(gate) * up` (Shazeer 2020, 2002.05202)."""
    if compiled.compiles(gate):
        return compiled.swiglu(gate, up)
    return _Swiglu.apply(gate, up) if torch.is_grad_enabled() else silu(gate) * up


def _inverse_rms(x: Tensor, eps: float) -> Tensor:
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return torch.addcmul(_scalar(eps, x.device), norm, norm, value=1 / x.shape[-1]).rsqrt_()


@cache
def _scalar(value: float, device: torch.device) -> Tensor:
    """A number as a tensor, because operations with Python numbers create one each time."""
    return torch.tensor(value, device=device)


def _normed(x: Tensor, inverse: Tensor, weight: Tensor) -> Tensor:
    out = (x * inverse).to(x.dtype)
    return out.mul_(weight) if weight.dtype == out.dtype else out * weight


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        inverse = _inverse_rms(x, eps)
        ctx.save_for_backward(x, weight, inverse)
        return _normed(x, inverse, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:  # type: ignore[override]
        x, weight, inverse = ctx.saved_tensors
        unit = x * inverse  # float32
        inner = gradient * weight.float()
        product = inner * unit
        mean = product.sum(dim=-1, keepdim=True).div_(-x.shape[-1])
        of_weight = None
        if ctx.needs_input_grad[1]:  # not where weights are frozen
            summed = torch.mul(unit, gradient, out=product).flatten(0, -1 - weight.dim()).sum(dim=0)
            of_weight = summed.to(weight.dtype)
        of_x = inner.addcmul_(unit, mean).mul_(inverse)
        return of_x.to(x.dtype), of_weight, None


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return (x * cos).addcmul_(x.roll(x.shape[-1] // 2, dims=-1), sin)


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        ctx.dtype = x.dtype
        return _rotated(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        cos, sin = ctx.saved_tensors
        # Swapping halves negates the signed sine: the gradient is rotated back by the same angle.
        return _rotated(gradient, cos, -sin).to(ctx.dtype), None, None


class _Swiglu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        gate, up = ctx.saved_tensors
        of_up = silu(gate).mul_(gradient)
        return torch.ops.aten.silu_backward(gradient * up, gate), of_up
