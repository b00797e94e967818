"""Flash attention in two parts against the masked way, in half precision and in float64. Needs a GPU."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from taosr_she.engine.flash_parts import FlashParts, has_kernel
from taosr_she.engine.masked import Masked
from taosr_she.engine.ragged import Ragged

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="flash attention needs a GPU")


def error(ours: torch.Tensor, exact: torch.Tensor) -> float:
    return float((ours.double() - exact).norm() / exact.norm().clamp(min=1e-9))


@needs_gpu
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    prompts=st.lists(st.integers(1, 70), min_size=1, max_size=4),
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40)), max_size=8),
    heads=st.sampled_from([(2, 2), (4, 2), (3, 1)]),
    depth=st.sampled_from([8, 64, 128]),
    seed=st.integers(0, 1000),
)
def test_rounds_no_more_than_the_masked_way(
    prompts: list[int], rows: list[tuple[int, int]], heads: tuple[int, int], depth: int, seed: int
) -> None:
    device = torch.device("cuda")
    rows = sorted((g % len(prompts), n) for g, n in rows)
    group = torch.tensor([g for g, _ in rows], dtype=torch.long, device=device)
    ragged = Ragged(prompts, device), Ragged([n for _, n in rows], device)
    random = torch.Generator(device).manual_seed(seed)
    count = sum(prompts) + sum(n for _, n in rows)
    shapes = [(count, heads[0], depth), (count, heads[1], depth), (count, heads[1], depth)]
    states = [torch.randn(s, generator=random, device=device).bfloat16().requires_grad_() for s in shapes]
    weights = torch.randn(shapes[0], generator=random, device=device)

    def run(way: FlashParts | Masked, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        out = way.attend(*inputs, 0.3)
        return [out.detach(), *torch.autograd.grad((out * weights.to(out.dtype)).sum(), inputs)]

    ours, masked = run(FlashParts(*ragged, group), states), run(Masked(*ragged, group), states)
    exact = run(Masked(*ragged, group), [t.detach().double().requires_grad_() for t in states])
    for mine, other, right in zip(ours, masked, exact, strict=True):
        assert mine.dtype == torch.bfloat16
        assert error(mine, right) < 2 * error(other, right) + 0.01


def test_what_the_kernel_takes() -> None:
    for wrong in (torch.zeros(3, 2, 8), torch.zeros(3, 2, 4).bfloat16(), torch.zeros(3, 2, 264).half()):
        assert not has_kernel(wrong)
