"""Formulas of the GPU against those of the CPU, values and gradients; on a CPU they run as they are written."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from taosr_she.engine import compiled, fused, logprobs

Function = Callable[..., Tensor]


def compare(ours: Function, theirs: Function, *inputs: Tensor) -> None:
    """Values, then gradients of all inputs, in the types that the CPU's formulas have."""
    out, expected = ours(*inputs), theirs(*inputs)
    tolerance = 1e-5 if all(t.dtype == torch.float32 for t in (*inputs, out)) else 0.03
    weights = torch.linspace(-1, 1, out.numel(), device=out.device).view(out.shape).to(out.dtype)
    mine, other = (torch.autograd.grad((o * weights).sum(), inputs) for o in (out, expected))
    for a, b in zip((out, *mine), (expected, *other), strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


def drawn(*shape: int, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape).to(device, dtype).requires_grad_()


TYPES = [(torch.float32, torch.float32), (torch.bfloat16, torch.bfloat16), (torch.bfloat16, torch.float32)]


@pytest.mark.parametrize(("dtype", "weight_dtype"), TYPES)
@pytest.mark.parametrize("rounded", [torch.float32, torch.bfloat16])
def test_norm(dtype: torch.dtype, weight_dtype: torch.dtype, rounded: torch.dtype, device: torch.device) -> None:
    torch.manual_seed(1)
    compare(
        lambda x, w: compiled.rms_norm(x, w, 1e-3, rounded),
        lambda x, w: fused._RmsNorm.apply(x, w, 1e-3).to(rounded),
        drawn(7, 16, device=device, dtype=dtype), drawn(16, device=device, dtype=weight_dtype),
    )  # fmt: skip


def angles(device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines (R, n, 1, D)."""
    turned = torch.rand(2, 5, 1, 8).mul(6).repeat(1, 1, 1, 2).to(device)
    return turned.cos(), fused.signed(turned.sin())


@pytest.mark.parametrize(("dtype", "weight_dtype"), TYPES)
def test_norm_and_rotation(dtype: torch.dtype, weight_dtype: torch.dtype, device: torch.device) -> None:
    torch.manual_seed(2)
    cos, sin = angles(device)
    compare(
        lambda x, w: compiled.norm_rotate(x, w, 1e-3, cos, sin, dtype),
        lambda x, w: fused._Rotate.apply(fused._RmsNorm.apply(x, w, 1e-3), cos, sin).to(dtype),
        drawn(2, 5, 3, 16, device=device, dtype=dtype), drawn(16, device=device, dtype=weight_dtype),
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rotation_alone(dtype: torch.dtype, device: torch.device) -> None:
    torch.manual_seed(3)
    cos, sin = angles(device)
    compare(
        lambda x: compiled.norm_rotate(x, None, 1e-3, cos, sin, dtype),
        lambda x: fused._Rotate.apply(x, cos, sin).to(dtype),
        drawn(2, 5, 3, 16, device=device, dtype=dtype),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gated_activation(dtype: torch.dtype, device: torch.device) -> None:
    torch.manual_seed(4)
    inputs = [drawn(6, 12, device=device, dtype=dtype) for _ in range(2)]
    compare(compiled.swiglu, fused._Swiglu.apply, *inputs)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_log_probabilities(temperature: float, dtype: torch.dtype, device: torch.device) -> None:
    torch.manual_seed(5)
    scores, ids = torch.randn(9, 50).mul(3).to(device, dtype), torch.randint(0, 50, (9,), device=device)
    chosen, entropy, total = compiled.token_scores(scores, ids, temperature)
    expected, exact = logprobs._TokenLogprobs.apply(scores.requires_grad_(), ids, temperature, True)
    torch.testing.assert_close((chosen, entropy), (expected.detach(), exact), atol=1e-5, rtol=1e-5)
    weights = torch.linspace(-1, 1, 9, device=device)
    gradient = compiled.token_gradient(scores.detach(), ids, total, weights, temperature)
    (right,) = torch.autograd.grad((expected * weights).sum(), scores)
    assert gradient.dtype == right.dtype
    torch.testing.assert_close(gradient, right, atol=1e-2 if dtype == torch.bfloat16 else 1e-6, rtol=1e-2)


def test_two_attentions_as_one(device: torch.device) -> None:
    torch.manual_seed(6)
    scores, values = (
        torch.randn(2, 5, 7, device=device),
        torch.randn(2, 7, 4, device=device),
    )  # (H, N, keys), (H, keys, D)
    parts = [slice(0, 3), slice(3, 7)]
    outs = [(scores[..., p].softmax(-1) @ values[:, p]).transpose(0, 1) for p in parts]
    sums = [scores[..., p].logsumexp(-1) for p in parts]
    out, total = compiled.merged(outs[0], sums[0], outs[1], sums[1])
    torch.testing.assert_close(out, (scores.softmax(-1) @ values).transpose(0, 1))
    torch.testing.assert_close(total, scores.logsumexp(-1))


def test_every_version_of_a_formula_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Types, dimensions, training and inference mode: more versions than torch compiles of its own accord."""
    counted = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        counted.append(graph)
        return graph.forward

    own = torch.compile
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 8)
    monkeypatch.setattr(torch, "compile", lambda function: own(function, backend=backend))
    monkeypatch.setattr(compiled, "available", lambda x: True)
    double = compiled.formula(lambda x: x * 2)
    versions = 0
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        for dims in (1, 2, 3, 4):
            with torch.inference_mode(dims % 2 == 0):
                torch.testing.assert_close(
                    double(torch.ones([3] * dims, dtype=dtype)), torch.full([3] * dims, 2, dtype=dtype)
                )
            versions += 1
    assert len(counted) == versions > 8
