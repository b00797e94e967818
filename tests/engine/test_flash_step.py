"""Attention of one new token to a shared prompt and to its own row: the slow formula on a CPU, the kernel on a GPU."""

import pytest
import torch
from flash_reference import flash_reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taosr_she.engine import flash_parts
from taosr_she.engine.cache import by_token
from taosr_she.engine.flash_step import FlashStep


@pytest.fixture
def kernel(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    if device.type == "cpu":
        monkeypatch.setattr(flash_parts, "_forward", flash_reference)
    return device


def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
    """(H, D), (H_kv, n, D) twice -> (H, D), in float64."""
    repeats = query.shape[0] // key.shape[0]
    key, value = (t.double().repeat_interleave(repeats, dim=0) for t in (key, value))
    weights = (torch.einsum("hd,hnd->hn", query.double(), key) * scale).softmax(dim=-1)
    return torch.einsum("hn,hnd->hd", weights, value)


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=4),
    counts=st.lists(st.integers(1, 5), min_size=4, max_size=4),
    written=st.integers(1, 20),
    heads=st.sampled_from([(2, 2), (4, 2), (3, 1)]),
    depth=st.sampled_from([8, 64, 128]),
    seed=st.integers(0, 1000),
)
def test_each_row_sees_its_prompt_and_its_own_tokens(
    kernel: torch.device,
    lengths: list[int],
    counts: list[int],
    written: int,
    heads: tuple[int, int],
    depth: int,
    seed: int,
) -> None:
    device, capacity, scale = kernel, 20, 0.3
    random = torch.Generator().manual_seed(seed)
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16

    def states(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random).to(device, dtype)

    group = torch.tensor(
        [c for c, n in zip(range(len(lengths)), counts, strict=False) for _ in range(n)], device=device
    )
    query = states(len(group), heads[0], 1, depth)
    shared = by_token((states(len(lengths), heads[1], 90, depth), states(len(lengths), heads[1], 90, depth)))
    key, value = by_token(
        (states(len(group), heads[1], capacity, depth), states(len(group), heads[1], capacity, depth))
    )
    used = torch.full((len(group),), written, dtype=torch.int32, device=device)
    step = FlashStep(group, torch.tensor(lengths, device=device), 90, used, capacity)
    out = step.attend(query, key, value, shared, scale)
    assert out.shape == (len(group), 1, heads[0], depth)
    for row, prompt in enumerate(group.tolist()):
        n = lengths[prompt]
        keys, values = (
            torch.cat([whole[prompt, :, :n], own[row, :, :written]], dim=1)
            for whole, own in zip(shared, (key, value), strict=True)
        )
        expected = attention(query[row, :, 0], keys, values, scale)
        error = (out[row, 0].double() - expected).norm() / expected.norm()
        assert error < (1e-5 if dtype == torch.float32 else 2e-2)
