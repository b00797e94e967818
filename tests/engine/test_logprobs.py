"""Log-probabilities and entropies against one forward pass a row, token by token."""

from collections.abc import Callable

import pytest
import torch

from taosr_she.engine.logprobs import response_logprobs
from taosr_she.model.policy import Policy

PROMPTS = [[5, 9, 3, 30, 7, 12, 8], [4], [21, 6, 2], [5, 9, 3]]
LENGTHS = [3, 5, 1, 0]
IDS = torch.tensor([[7, 2, 0, 1, 1], [6, 11, 9, 39, 0], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1]])
MASK = torch.arange(5) < torch.tensor(LENGTHS)[:, None]


def reference(policy: Policy, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    logprobs, entropies = [], []
    for prompt, ids, length in zip(PROMPTS, IDS.tolist(), LENGTHS, strict=True):
        for t in range(5):
            if t >= length:
                logprobs.append(torch.zeros((), device=policy.device))
                entropies.append(torch.zeros((), device=policy.device))
                continue
            logits = policy.model(torch.tensor([prompt + ids[:t]], device=policy.device)).logits[0, -1].float()
            logits = logits / temperature
            p = logits.softmax(-1)
            logprobs.append(p[ids[t]].log())
            entropies.append(-(p * p.log()).sum())
    return torch.stack(logprobs).view(4, 5), torch.stack(entropies).view(4, 5)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_values_and_gradients(any_policy: Policy, temperature: float) -> None:
    device = any_policy.device
    weights = torch.linspace(-1, 2, 20, device=device).view(4, 5)
    ids, mask = IDS.to(device), MASK.to(device)
    ours, entropy = response_logprobs(any_policy.model, PROMPTS, ids, mask, temperature, with_entropy=True)
    (weights * ours).sum().backward()
    gradients = [p.grad.clone() for p in any_policy.model.parameters() if p.grad is not None]
    any_policy.model.zero_grad(set_to_none=True)
    expected, expected_entropy = reference(any_policy, temperature)
    (weights * expected).sum().backward()
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)
    assert entropy is not None and not entropy.requires_grad
    torch.testing.assert_close(entropy, expected_entropy.detach(), atol=1e-5, rtol=0)
    others = [p.grad for p in any_policy.model.parameters() if p.grad is not None]
    torch.testing.assert_close(gradients, others, atol=1e-4, rtol=1e-3)


def test_only_response_tokens_reach_the_output_layer(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy("qwen3")
    shapes: list[tuple[int, ...]] = []
    policy.model.lm_head.register_forward_hook(lambda _, args, out: shapes.append(tuple(out.shape)))
    with torch.no_grad():
        logprobs, entropy = response_logprobs(policy.model, PROMPTS, IDS.to(policy.device), MASK.to(policy.device))
    assert shapes == [(1, sum(LENGTHS), 40)]
    assert entropy is None and not logprobs.requires_grad


def test_the_model_is_usable_after_a_failure(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy("qwen3", device=torch.device("cpu"))  # a GPU does not come back from a wrong index
    with pytest.raises(IndexError):
        response_logprobs(policy.model, PROMPTS, IDS + 99, MASK)
    assert policy.model(torch.tensor([PROMPTS[0]])).logits.shape == (1, 7, 40)


def test_temperature_zero_has_no_distribution(make_policy: Callable[..., Policy]) -> None:
    with pytest.raises(ValueError, match="temperature above 0"):
        response_logprobs(make_policy("qwen3").model, PROMPTS, IDS, MASK, 0.0)
