"""Element-wise formulas on a GPU, each compiled into one or two kernels by torch.compile.

Without compiling, operation by operation as in engine/fused.py for a CPU, they read and write memory many times;
docs/performance.md has the cost on a GPU. Compiling takes some seconds per formula, once, so only training and
recorded decoding (engine/recorded.py) use it. A single forward pass runs the formulas uncompiled.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger(__name__)
VERSIONS = 64
"""Versions of a formula that torch may compile before it gives up on it: a few types and numbers of dimensions, each in
training, in inference mode, and for one token or many. Its own limit of 8 was reached."""
_decoding: ContextVar[bool] = ContextVar("decoding", default=False)


def available(x: Tensor) -> bool:
    """Whether formulas over `x` can be compiled: this needs a GPU, Triton, and a C compiler for its launchers."""
    return x.is_cuda and _has_compiler()


def compiles(x: Tensor) -> bool:
    """Whether formulas over `x` are compiled: during training and in `compiling`, if they can be."""
    return (torch.is_grad_enabled() or _decoding.get()) and available(x)


@contextmanager
def compiling() -> Iterator[None]:
    """Compile formulas inside the block although nothing is trained: for a step that is decoded many times."""
    token = _decoding.set(True)
    try:
        yield
    finally:
        _decoding.reset(token)


def rms_norm(x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    """`rms_norm(x, weight, eps).to(dtype)` of engine/fused.py."""
    out: Tensor = _Norm.apply(x, weight, eps, dtype)
    return out


def norm_rotate(x: Tensor, weight: Tensor | None, eps: float, cos: Tensor, sin: Tensor, dtype: torch.dtype) -> Tensor:
    """As in engine/fused.py; x (R, n, H, D), cos and sin (R, n, 1, D)."""
    tokens, cos, sin = (t.flatten(0, 1) for t in (x, cos, sin))
    out: Tensor = _NormRotate.apply(tokens, weight, eps, cos, sin, dtype)
    return out.view(x.shape)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """As in engine/fused.py."""
    out: Tensor = _Swiglu.apply(gate, up)
    return out


def formula(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, compiled at its first call with tensors on a GPU.

    It is compiled for any number of tokens, which is the first dimension of the first tensor.
    """

    known: set[tuple[Any, ...]] = set()

    @cache
    def compiled() -> Callable[..., Any]:
        limits = torch._dynamo.config
        limits.recompile_limit = max(limits.recompile_limit, VERSIONS)
        return torch.compile(function)

    def call(*inputs: Any) -> Any:
        tensors = [t for t in inputs if isinstance(t, Tensor)]
        if not available(tensors[0]):
            return function(*inputs)
        kind = tuple((t.dtype, t.dim()) for t in tensors)
        if kind not in known:  # marking takes longer than many formulas, so only compiled ones are marked
            known.add(kind)
            tokens = len(tensors[0])
            for tensor in tensors:
                for dim, size in enumerate(tensor.shape):
                    if size == tokens > 1:
                        torch._dynamo.maybe_mark_dynamic(tensor, dim)
        return compiled()(*inputs)

    return call


@cache
def _has_compiler() -> bool:
    found = find_spec("triton") is not None and any(map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang")))
    if not found:
        log.warning("training runs slower than it could: torch.compile needs triton and a C compiler (gcc)")
    return found


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
        out, inverse = norm_formula(x, weight, eps, dtype)
        ctx.save_for_backward(x, weight, inverse)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:  # type: ignore[override]
        return *norm_gradient(gradient.contiguous(), *ctx.saved_tensors), None, None


class _NormRotate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, eps: float, cos: Tensor, sin: Tensor, dtype: torch.dtype
    ) -> Tensor:
        if weight is None:
            ctx.save_for_backward(cos, sin)
            ctx.dtype = x.dtype
            return rotation_formula(x, cos, sin, dtype)
        out, inverse = norm_rotation_formula(x, weight, eps, cos, sin, dtype)
        ctx.save_for_backward(cos, sin, x, weight, inverse)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        cos, sin, *rest = ctx.saved_tensors
        gradient = gradient.contiguous()
        # Swapping halves negates the signed sine: the gradient is rotated back by the same angle.
        if not rest:
            return rotation_formula(gradient, cos, -sin, ctx.dtype), *[None] * 5
        return *norm_rotation_gradient(gradient, cos, sin, *rest), *[None] * 4


class _Swiglu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        out: Tensor = swiglu_formula(gate, up)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        of_gate, of_up = swiglu_gradient(gradient, *ctx.saved_tensors)
        return of_gate, of_up


def _norm(x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    wide = x.float()
    inverse = (wide.square().mean(dim=-1, keepdim=True) + eps).rsqrt()
    return ((wide * inverse).to(x.dtype) * weight).to(dtype), inverse


def _norm_gradient(gradient: Tensor, x: Tensor, weight: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    wide, unit = gradient.float(), x.float() * inverse
    inner = wide * weight.float()
    of_x = (inner - unit * (inner * unit).mean(dim=-1, keepdim=True)) * inverse
    of_weight = (wide * unit).flatten(0, -1 - weight.dim()).sum(dim=0)
    return of_x.to(x.dtype), of_weight.to(weight.dtype)


def _rotation(x: Tensor, cos: Tensor, sin: Tensor, dtype: torch.dtype) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return (x * cos + torch.cat([second, first], dim=-1) * sin).to(dtype)


def _norm_rotation(
    x: Tensor, weight: Tensor, eps: float, cos: Tensor, sin: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    normed, inverse = _norm(x, weight, eps, torch.promote_types(x.dtype, weight.dtype))
    return _rotation(normed, cos, sin, dtype), inverse


def _norm_rotation_gradient(
    gradient: Tensor, cos: Tensor, sin: Tensor, x: Tensor, weight: Tensor, inverse: Tensor
) -> tuple[Tensor, Tensor]:
    return _norm_gradient(_rotation(gradient.float(), cos, -sin, torch.float32), x, weight, inverse)


def _swiglu(gate: Tensor, up: Tensor) -> Tensor:
    wide = gate.float()
    return (wide * wide.sigmoid()).to(gate.dtype) * up


def _swiglu_gradient(gradient: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    wide, g = gate.float(), gradient.float()
    share = wide.sigmoid()
    of_gate = g * up.float() * share * (1 + wide * (1 - share))
    return of_gate.to(gate.dtype), (g * wide * share).to(up.dtype)


def _token_scores(scores: Tensor, ids: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """(N, V) logits, (N,) ids -> log-probabilities of the ids, entropies, logarithms of the sums: (N,) each."""
    scaled = scores.float() / temperature
    top = scaled.amax(dim=-1, keepdim=True)
    below = scaled - top
    weights = below.exp()
    mass = weights.sum(dim=-1)
    total = mass.log() + top[:, 0]
    chosen = scores.gather(-1, ids[:, None])[:, 0].float() / temperature - total
    return chosen, mass.log() - (weights * below).sum(dim=-1) / mass, total


def _token_gradient(scores: Tensor, ids: Tensor, total: Tensor, weight: Tensor, temperature: float) -> Tensor:
    """Gradient of the log-probabilities with respect to the logits, with each row multiplied by its `weight` (N,)."""
    share = (scores.float() / temperature - total[:, None]).exp()
    hit = torch.arange(scores.shape[1], device=scores.device) == ids[:, None]
    return ((hit.float() - share) * (weight / temperature)[:, None]).to(scores.dtype)


def _part_weights(of_x: Tensor, of_y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-sum-exps (N, H) of two attentions -> those of both together (H, N), and the weights (N, H) of each."""
    both = torch.logaddexp(of_x, of_y)
    first, second = ((of - both).exp().contiguous() for of in (of_x, of_y))
    return both.t().contiguous(), first, second


def _blend(x: Tensor, first: Tensor, y: Tensor, second: Tensor) -> Tensor:
    """Two attentions (N, H, D) with their weights (N, H) as one."""
    return (x * first[..., None] + y * second[..., None]).to(x.dtype)


norm_formula, norm_gradient = formula(_norm), formula(_norm_gradient)
rotation_formula = formula(_rotation)
norm_rotation_formula, norm_rotation_gradient = formula(_norm_rotation), formula(_norm_rotation_gradient)
swiglu_formula, swiglu_gradient = formula(_swiglu), formula(_swiglu_gradient)
token_scores, token_gradient = formula(_token_scores), formula(_token_gradient)
part_weights, blend = formula(_part_weights), formula(_blend)


def merged(x: Tensor, of_x: Tensor, y: Tensor, of_y: Tensor) -> tuple[Tensor, Tensor]:
    """Combine two attentions (N, H, D) with their log-sum-exps (H, N) into one, with its log-sum-exps.

    Two formulas: fused into one, the weights would be computed again for each of the D numbers.
    """
    both, first, second = part_weights(of_x.t(), of_y.t())
    out: Tensor = blend(x, first, y, second)
    return out, both
