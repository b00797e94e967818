"""Shared prompts against the plain path: values and gradients on random shapes, and what happens where it cannot be."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from taosr_she.engine import shared_prefix
from taosr_she.engine.attention import say_once
from taosr_she.engine.logprobs import response_logprobs
from taosr_she.engine.shared_prefix import gradient_difference, shared_logprobs, unshareable, wrong_gradient
from taosr_she.model.policy import Policy

Result = tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]


def random_groups(seed: int, device: torch.device) -> tuple[list[list[int]], torch.Tensor, torch.Tensor, torch.Tensor]:
    """Prompts, of which some have no rows; groups of unequal sizes, rows out of order, some of them empty."""
    random = torch.Generator().manual_seed(seed)

    def integer(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=random))

    prompts = [torch.randint(2, 40, (integer(1, 12),), generator=random).tolist() for _ in range(integer(1, 5))]
    rows, width = integer(1, 9), integer(1, 8)
    group = torch.randint(0, len(prompts), (rows,), generator=random)
    mask = torch.arange(width) < torch.randint(0, width + 1, (rows, 1), generator=random)
    ids = torch.randint(2, 40, (rows, width), generator=random)
    return prompts, group.to(device), ids.to(device), mask.to(device)


def run(policy: Policy, weights: torch.Tensor, function: Callable[[], tuple[torch.Tensor, torch.Tensor]]) -> Result:
    policy.model.zero_grad(set_to_none=True)
    logprobs, entropy = function()
    (weights * logprobs).sum().backward()
    return logprobs, entropy, [p.grad for p in policy.model.parameters() if p.grad is not None]


@pytest.mark.parametrize("architecture", ["qwen3", "qwen2", "llama", "gpt2"])
def test_equals_the_plain_path(architecture: str, make_policy: Callable[..., Policy]) -> None:
    policy = make_policy(architecture)
    assert unshareable(policy.model) == ""

    @settings(max_examples=15, deadline=None, derandomize=True)
    @given(seed=st.integers(0, 10_000), temperature=st.sampled_from([1.0, 0.7]))
    def check(seed: int, temperature: float) -> None:
        prompts, group, ids, mask = random_groups(seed, policy.device)
        weights = torch.linspace(-1, 2, ids.numel(), device=policy.device).view(ids.shape)
        repeated = [prompts[g] for g in group.tolist()]
        ours = run(policy, weights, lambda: shared_logprobs(policy.model, prompts, group, ids, mask, temperature, True))
        plain = run(policy, weights, lambda: response_logprobs(policy.model, repeated, ids, mask, temperature, True))
        for mine, expected in zip(ours[:2], plain[:2], strict=True):
            torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(ours[2], plain[2], atol=1e-4, rtol=1e-3)

    check()
    assert policy.model.config._attn_implementation == "sdpa"  # as it was


@pytest.mark.parametrize("architecture", ["qwen3", "llama"])
def test_differs_from_it_in_bfloat16_no_more_than_rounding(
    architecture: str, make_policy: Callable[..., Policy]
) -> None:
    policy = make_policy(architecture)
    prompts, group, ids, mask = random_groups(7, policy.device)
    repeated = [prompts[g] for g in group.tolist()]
    exact, _ = response_logprobs(policy.model, repeated, ids, mask)
    with torch.autocast(policy.device.type, dtype=torch.bfloat16):
        ours, _ = shared_logprobs(policy.model, prompts, group, ids, mask)
        plain, _ = response_logprobs(policy.model, repeated, ids, mask)
    assert 0 < (ours - exact).norm() < 2 * (plain - exact).norm()


def test_each_prompt_is_run_once_and_only_response_tokens_get_logits(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy("qwen3")
    unshareable(policy.model)
    seen: list[tuple[int, ...]] = []
    policy.model.get_input_embeddings().register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape)))
    policy.model.lm_head.register_forward_hook(lambda _, args, out: seen.append(tuple(out.shape[-2:])))
    prompts, group = [[5, 9, 3, 30], [4, 6]], torch.tensor([0, 0, 0, 1], device=policy.device)
    mask = (torch.arange(3) < torch.tensor([[3], [1], [2], [3]])).to(policy.device)
    ids = torch.full((4, 3), 7, device=policy.device)
    # Except on a CPU, the first call compares gradients once, in passes of its own.
    assert wrong_gradient(policy.model, lambda: (prompts, group, ids, mask)) == ""
    seen.clear()
    shared_logprobs(policy.model, prompts, group, ids, mask)
    assert seen == [(1, 4 + 2 + 2 + 0 + 1 + 2), (9, 40)]


def test_a_model_with_another_attention_takes_the_plain_path(
    make_policy: Callable[..., Policy], caplog: pytest.LogCaptureFixture
) -> None:
    policy = make_policy("gemma2")
    say_once.cache_clear()
    prompts, group, ids, mask = random_groups(4, policy.device)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            ours, _ = shared_logprobs(policy.model, prompts, group, ids, mask)
    plain, _ = response_logprobs(policy.model, [prompts[g] for g in group.tolist()], ids, mask)
    assert torch.equal(ours, plain)
    assert [r.message for r in caplog.records] == [
        "Gemma2ForCausalLM runs without shared prompts: it has layers of the kind sliding_attention"
    ]


def test_a_model_that_mixes_neighbours_is_found_out(make_policy: Callable[..., Policy]) -> None:
    """Whatever an architecture does beside attention, the small example sees it."""
    policy = make_policy("llama")
    layer = policy.model.model.layers[0]
    layer.register_forward_hook(lambda _, args, out: out + 0.5 * out.roll(1, dims=1))
    assert unshareable(policy.model) == "packed rows change its output"


class Scaled(torch.autograd.Function):
    """Right values, gradients that are off by a factor."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        return gradient * ctx.factor, None


def test_a_device_whose_gradients_are_wrong_is_found_out(
    make_policy: Callable[..., Policy], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Values alone do not say so: a kernel may be right forwards and wrong backwards."""
    policy = make_policy("llama")
    batch = random_groups(4, policy.device)
    assert gradient_difference(policy.model, *batch) == ""
    own = shared_prefix._packed_logprobs

    def wrong(*arguments: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        logprobs, entropy = own(*arguments)
        return Scaled.apply(logprobs, 1.5), entropy

    monkeypatch.setattr(shared_prefix, "_packed_logprobs", wrong)
    assert gradient_difference(policy.model, *batch).startswith("its gradients differ by 50.0% on")
    with torch.autocast(policy.device.type, dtype=torch.bfloat16):
        assert gradient_difference(policy.model, *batch).startswith("its gradients differ by")
    assert unshareable(policy.model) == ""
    # Where a device has kernels of its own, training then takes the plain path and says so.
    monkeypatch.setattr(shared_prefix, "wrong_gradient", lambda model, example: gradient_difference(model, *example()))
    say_once.cache_clear()
    prompts, group, ids, mask = batch
    with caplog.at_level(logging.WARNING):
        ours, _ = shared_logprobs(policy.model, prompts, group, ids, mask)
    plain, _ = response_logprobs(policy.model, [prompts[g] for g in group.tolist()], ids, mask)
    assert torch.equal(ours, plain) and "its gradients differ" in caplog.text


@pytest.mark.parametrize(("ours", "plain", "fine"), [(3.0, 3.0, True), (5.1, 3.0, True), (5.5, 3.0, False)])
def test_rounding_of_the_plain_way_is_no_reason(
    ours: float, plain: float, fine: bool, make_policy: Callable[..., Policy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In half precision a gradient can be mostly rounding, whichever way it is computed: SmolLM2's on text that it
    never writes is 370% away from float32 the plain way (docs/log.md). Ours may be as bad, not much worse."""
    policy = make_policy("llama")

    def off(own: Callable[..., Any], factor: float) -> Callable[..., Any]:
        def way(*arguments: Any) -> Any:
            logprobs, entropy = own(*arguments)
            rounded = torch.is_autocast_enabled(policy.device.type)
            return Scaled.apply(logprobs, factor if rounded else 1.0), entropy

        return way

    monkeypatch.setattr(shared_prefix, "_packed_logprobs", off(shared_prefix._packed_logprobs, ours))
    monkeypatch.setattr(shared_prefix, "response_logprobs", off(response_logprobs, plain))
    with torch.autocast(policy.device.type, dtype=torch.bfloat16):
        assert (gradient_difference(policy.model, *random_groups(4, policy.device)) == "") == fine
