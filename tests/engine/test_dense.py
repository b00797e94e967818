"""bfloat16 attention by products against the formula in float64: values, sums and gradients."""

import pytest
import torch
from torch import Tensor

from taosr_she.engine import dense

SCALE = 0.3


def formula(query: Tensor, key: Tensor, value: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    repeats = query.shape[1] // key.shape[1]
    key, value = (t.repeat_interleave(repeats, dim=1) for t in (key, value))
    scores = (SCALE * query @ key.transpose(2, 3)).masked_fill(~seen, -torch.inf)
    return scores.softmax(-1) @ value, scores.logsumexp(-1)


def states(heads: int, shared: int, queries: int, keys: int) -> list[Tensor]:
    """Queries, keys, values and a gradient, heads behind tokens in memory as the packed row has them."""
    torch.manual_seed(2)
    sizes = [(heads, queries), (shared, keys), (shared, keys), (heads, queries)]
    return [torch.randn(3, width, n, 8).bfloat16().transpose(1, 2) for n, width in sizes]


def apart(found: Tensor, expected: Tensor) -> float:
    return float(((found.double() - expected).norm() / expected.norm()).detach())


@pytest.mark.parametrize("block", [1, 1 << 19])
@pytest.mark.parametrize(("heads", "shared"), [(2, 2), (6, 2)])
@pytest.mark.parametrize("causal", [True, False])
def test_equals_the_formula(causal: bool, heads: int, shared: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "BLOCK", block)
    query, key, value, gradient = states(heads, shared, 7, 7 if causal else 5)
    seen = torch.ones(3, 1, 7, key.shape[2], dtype=torch.bool)
    mask = None
    if causal:
        seen = seen.tril()
    else:
        seen[1, :, :, 3:] = False
        mask = torch.zeros(seen.shape).masked_fill(~seen, -torch.inf)
    out, sums = dense.forward(query, key, value, causal, SCALE, mask)
    exact = [t.double().requires_grad_() for t in (query, key, value)]
    expected, expected_sums = formula(*exact, seen)
    assert out.dtype == torch.bfloat16 and apart(out, expected) < 5e-3
    torch.testing.assert_close(sums.double(), expected_sums, atol=1e-5, rtol=1e-5)
    found = dense.backward(gradient, query, key, value, out, sums, causal, SCALE, mask)
    wanted = torch.autograd.grad(expected, exact, gradient.double())
    assert [apart(mine, theirs) < 1e-2 for mine, theirs in zip(found, wanted, strict=True)] == [True] * 3


def test_a_part_of_a_whole_gets_its_share_and_padding_nothing() -> None:
    """Keys in two parts: each part's gradient, by the sums of the whole, is that of the whole."""
    query, key, value, gradient = states(4, 2, 6, 9)
    whole = dense.forward(query, key, value, False, SCALE)
    expected = dense.backward(gradient, query, key, value, *whole, False, SCALE)
    parts = [
        dense.backward(gradient, query, key[:, :, cut], value[:, :, cut], *whole, False, SCALE)
        for cut in (slice(0, 4), slice(4, 9))
    ]
    assert apart(parts[0][0] + parts[1][0], expected[0].double()) < 1e-2
    for n in (1, 2):
        assert apart(torch.cat([parts[0][n], parts[1][n]], dim=2), expected[n].double()) < 1e-2
    out, sums = whole
    sums[:, :, 3:] = torch.inf
    gradient[:, :, 3:] = 0
    of_query, _, of_value = dense.backward(gradient, query, key, value, out, sums, False, SCALE)
    assert not of_query[:, :, 3:].any() and of_value.isfinite().all()
