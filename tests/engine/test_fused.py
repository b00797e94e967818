"""Fused formulas against Hugging Face's own modules, values and gradients."""

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import silu
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm, apply_rotary_pos_emb

from taosr_she.engine.fused import rms_norm, rotate, signed, swiglu

Function = Callable[..., torch.Tensor]


def compare(ours: Function, theirs: Function, *inputs: torch.Tensor) -> None:
    """Values with and without gradients, then gradients of all inputs."""
    tolerance = 1e-5 if all(t.dtype == torch.float32 for t in inputs) else 0.02

    def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
        torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)

    expected = theirs(*inputs)
    with torch.no_grad():
        assert ours(*inputs).dtype == expected.dtype
        close(ours(*inputs), expected)
    out = ours(*inputs)
    close(out, expected)
    weights = torch.linspace(-1, 1, out.numel(), device=out.device).to(out.dtype).view(out.shape)
    for mine, other in zip(*(torch.autograd.grad((o * weights).sum(), inputs) for o in (out, expected)), strict=True):
        assert mine.dtype == other.dtype
        close(mine, other)


def tensor(*shape: int, device: torch.device, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape).to(device, dtype).requires_grad_()


@pytest.mark.parametrize("shape", [(5, 8), (2, 3, 4, 8)])
@pytest.mark.parametrize(
    ("dtype", "weight_dtype"),
    [(torch.float32, torch.float32), (torch.bfloat16, torch.bfloat16), (torch.bfloat16, torch.float32)],
)
def test_norm(shape: tuple[int, ...], dtype: torch.dtype, weight_dtype: torch.dtype, device: torch.device) -> None:
    torch.manual_seed(1)
    module = Qwen3RMSNorm(8, eps=1e-3).to(device)

    def theirs(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(module, {"weight": weight}, (x,))

    compare(
        lambda x, w: rms_norm(x, w, 1e-3),
        theirs,
        tensor(*shape, device=device, dtype=dtype),
        tensor(8, device=device, dtype=weight_dtype),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rotation(dtype: torch.dtype, device: torch.device) -> None:
    torch.manual_seed(2)
    angles = torch.rand(2, 5, 4).mul(6).to(device)
    cos, sin = (f(torch.cat([angles, angles], dim=-1)).to(dtype) for f in (torch.cos, torch.sin))
    states = tensor(2, 5, 3, 8, device=device, dtype=dtype)  # (R, n, H, D)
    compare(
        lambda x: rotate(x, cos.unsqueeze(2), signed(sin.unsqueeze(2))),
        lambda x: apply_rotary_pos_emb(x, x, cos, sin, unsqueeze_dim=2)[0],
        states,
    )


def test_gated_activation(device: torch.device) -> None:
    torch.manual_seed(3)
    compare(swiglu, lambda g, u: silu(g) * u, tensor(6, 4, device=device), tensor(6, 4, device=device))
