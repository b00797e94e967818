"""Draws by inverse CDF against probabilities worked out by sorting in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.engine.draw import draw, row_uniforms

POINTS = 4000


def reference(logits: list[float], temperature: float, top_k: int, top_p: float) -> tuple[np.ndarray, np.ndarray]:
    """(log-probabilities of the whole softmax, probabilities after truncation)."""
    scores = np.array(logits, dtype=np.float64) / temperature
    logp = scores - scores.max() - np.log(np.exp(scores - scores.max()).sum())
    order = sorted(range(len(logits)), key=lambda i: -logits[i])[: top_k or len(logits)]
    whole = sum(np.exp(logp[i]) for i in order)
    kept: list[int] = []
    for i in order:
        if kept and sum(np.exp(logp[j]) for j in kept) >= top_p * whole - 1e-6:
            break
        kept.append(i)
    probabilities = np.zeros(len(logits))
    probabilities[kept] = np.exp(logp[kept])
    return logp, probabilities / probabilities.sum()


@pytest.mark.parametrize("vocab", [1, 5, 300])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (3, 1.0), (0, 0.7), (0, 0.95), (100, 0.8), (999, 0.01)])
def test_shares_equal_probabilities(vocab: int, temperature: float, top_k: int, top_p: float) -> None:
    # Evenly spread uniforms: an exact inverse CDF gives every token its share of them, to one point at either end.
    logits = torch.randn(vocab, generator=torch.Generator().manual_seed(vocab)) * 0.8  # flat: 0.95 needs > 64 of 300
    uniforms = (torch.arange(POINTS) + 0.5) / POINTS
    tokens, logprobs = draw(logits.expand(POINTS, -1), uniforms, temperature, top_k, top_p)
    logp, probabilities = reference(logits.tolist(), temperature, top_k, top_p)
    shares = np.bincount(tokens.numpy(), minlength=vocab) / POINTS
    np.testing.assert_allclose(shares, probabilities, atol=2 / POINTS)
    assert not shares[probabilities == 0].any()
    np.testing.assert_allclose(logprobs.numpy(), logp[tokens.numpy()], atol=1e-5)


def test_rows_are_drawn_apart() -> None:
    # One row's nucleus is a single token, the other's is nearly everything: the wider one sets the prefix.
    logits = torch.zeros(2, 500)
    logits[0, 7] = 50.0
    tokens, _ = draw(logits.repeat(400, 1), torch.rand(800, generator=torch.Generator().manual_seed(0)), 1.0, 0, 0.99)
    assert set(tokens[::2].tolist()) == {7}
    assert 200 < len(set(tokens[1::2].tolist())) <= 496


@given(
    dead=st.sets(st.integers(0, 9), max_size=9),
    uniform=st.sampled_from([0.0, 2.0**-24, 0.5, 1 - 2.0**-24]),
    cut=st.sampled_from([(0, 1.0), (10, 1.0), (0, 1.0 - 1e-7), (4, 0.5)]),
)
def test_a_token_without_probability_is_never_drawn(dead: set[int], uniform: float, cut: tuple[int, float]) -> None:
    logits = torch.linspace(-2, 2, 10)[None].clone()
    logits[0, list(dead)] = -torch.inf
    tokens, logprobs = draw(logits, torch.tensor([uniform]), 1.0, *cut)
    assert int(tokens) not in dead and torch.isfinite(logprobs).all()


def test_temperature_zero_is_greedy_and_scored_at_one() -> None:
    logits = torch.randn(6, 9, generator=torch.Generator().manual_seed(1))
    tokens, logprobs = draw(logits, torch.zeros(6), 0.0, top_k=2, top_p=0.5)
    assert tokens.tolist() == logits.argmax(-1).tolist()
    torch.testing.assert_close(logprobs, logits.log_softmax(-1).amax(-1))


def test_bfloat16_logits_are_scored_in_float32() -> None:
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(2)).bfloat16()
    tokens, logprobs = draw(logits, torch.full((3,), 0.4), 1.0)
    torch.testing.assert_close(logprobs, logits.double().log_softmax(-1)[range(3), tokens].float())


def test_streams_of_rows() -> None:
    numbers = row_uniforms(range(200), 50, seed=5)
    assert torch.equal(row_uniforms([7, 3], 50, 5), numbers[[7, 3]])
    assert torch.equal(row_uniforms([7], 20, 5)[0], numbers[7, :20])
    assert not torch.equal(row_uniforms([7], 50, 6)[0], numbers[7])
    assert numbers.min() >= 0 and numbers.max() < 1 and len(numbers.unique()) > 9_900
    assert abs(float(numbers.mean()) - 0.5) < 0.01
    assert abs(float(torch.corrcoef(torch.stack([numbers[:-1].flatten(), numbers[1:].flatten()]))[0, 1])) < 0.04


def test_no_token_without_probability_in_a_large_vocabulary(device: torch.device) -> None:
    """A GPU adds up in blocks: the running sum may step where a weight is zero."""
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(32, 50_000, generator=generator)
    dead = torch.rand(32, 50_000, generator=generator) < 0.9
    logits = logits.masked_fill(dead, -torch.inf).to(device)
    for _ in range(20):
        tokens, logprobs = draw(logits, torch.rand(32, generator=generator).to(device), 1.0)
        assert bool(logprobs.isfinite().all()) and not dead[torch.arange(32), tokens.cpu()].any()
