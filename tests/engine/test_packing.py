"""Both ways to attend in a packed row against dense attention written from the formula; and who predicts whom."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from taosr_she.engine.masked import Masked
from taosr_she.engine.packing import Pack
from taosr_she.engine.ragged import Ragged
from taosr_she.engine.two_part import TwoParts

DEPTH, SCALE = 4, 0.3
CPU = torch.device("cpu")
WAYS = [(TwoParts, CPU), (Masked, CPU)]
if torch.cuda.is_available():
    WAYS.append((Masked, torch.device("cuda")))


def visible(prompts: list[int], responses: list[int], group: list[int]) -> torch.Tensor:
    """(N, N) bool: may the token of the row look at the token of the column?"""
    owner = [("prompt", c) for c, n in enumerate(prompts) for _ in range(n)]
    owner += [("response", b) for b, n in enumerate(responses) for _ in range(n)]
    seen = torch.zeros(len(owner), len(owner), dtype=torch.bool)
    for i, (kind, number) in enumerate(owner):
        for j, other in enumerate(owner):
            own = other == (kind, number) and j <= i
            seen[i, j] = own or (kind == "response" and other == ("prompt", group[number]))
    return seen


def dense(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    repeats = query.shape[1] // key.shape[1]
    key, value = (t.repeat_interleave(repeats, dim=1) for t in (key, value))
    scores = torch.einsum("ihd,jhd->hij", query, key) * SCALE
    weights = scores.masked_fill(~seen, -torch.inf).softmax(dim=-1)
    return torch.einsum("hij,jhd->ihd", weights, value)


@pytest.mark.parametrize(("way", "device"), WAYS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    prompts=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 7)), max_size=8),
    heads=st.sampled_from([(2, 2), (4, 2), (3, 1)]),
    seed=st.integers(0, 1000),
)
def test_equals_dense_attention(
    way: type[TwoParts] | type[Masked],
    device: torch.device,
    prompts: list[int],
    rows: list[tuple[int, int]],
    heads: tuple[int, int],
    seed: int,
) -> None:
    rows = sorted((g % len(prompts), n) for g, n in rows)
    group, responses = [g for g, _ in rows], [n for _, n in rows]
    of = torch.tensor(group, dtype=torch.long, device=device)
    parts = way(Ragged(prompts, device), Ragged(responses, device), of)
    random = torch.Generator().manual_seed(seed)
    count = sum(prompts) + sum(responses)
    shapes = [(count, heads[0], DEPTH), (count, heads[1], DEPTH), (count, heads[1], DEPTH)]
    drawn = [torch.randn(s, generator=random, dtype=torch.float64).to(device) for s in (*shapes, shapes[0])]
    states, weights = [t.mul_(3).requires_grad_() for t in drawn[:3]], drawn[3]
    ours = parts.attend(*states, SCALE)
    expected = dense(*states, visible(prompts, responses, group).to(device))
    torch.testing.assert_close(ours, expected, atol=1e-10, rtol=1e-10)
    mine, theirs = (torch.autograd.grad((out * weights).sum(), states) for out in (ours, expected))
    torch.testing.assert_close(mine, theirs, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(("way", "device"), WAYS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_keeps_the_type(way: type[TwoParts] | type[Masked], device: torch.device, dtype: torch.dtype) -> None:
    parts = way(Ragged([3, 2], device), Ragged([2, 1], device), torch.tensor([0, 1], device=device))
    torch.manual_seed(1)
    states = [torch.randn(8, 2, DEPTH).to(device, dtype).requires_grad_() for _ in range(3)]
    out = parts.attend(*states, SCALE)
    seen = visible([3, 2], [2, 1], [0, 1]).to(device)
    expected = dense(*(t.detach().double() for t in states), seen)
    torch.testing.assert_close(out.double(), expected, atol=2e-2 if dtype == torch.bfloat16 else 1e-6, rtol=0)
    gradients = torch.autograd.grad(out.sum(), states)
    assert {out.dtype, *(g.dtype for g in gradients)} == {dtype}


def test_responses_stand_behind_one_another_by_prompt() -> None:
    pack = Pack([[1, 2], [3]], [[4, 5], [6], [], [7, 8, 9]], [1, 0, 0, 1], CPU)
    assert pack.ids.tolist() == [[1, 2, 3, 6, 4, 5, 7, 8, 9]]
    assert pack.positions.tolist() == [[0, 1, 0, 2, 1, 2, 1, 2, 3]]
    # Of each response as given: the token before its first, then its own but the last.
    assert pack.predecessors([2, 1, 1, 3]).tolist() == [2, 4, 1, 1, 2, 6, 7]
    assert pack.last().tolist() == [5, 3, 1, 8]
    # Tokens of a prompt and its response counted through: those of the prompt are shared.
    assert pack.places([0, 0, 1, 1, 1, 3, 2], [0, 2, 0, 1, 2, 3, 1]).tolist() == [2, 5, 0, 1, 3, 8, 1]
