"""LoRA layers in the lean pass against PEFT's own forward pass: values, gradients of A and B, decoding."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch.nn.functional import log_softmax

from taosr_she.engine.logprobs import response_logprobs
from taosr_she.engine.lora import adapter_dropout, adapter_off, has_adapter
from taosr_she.engine.runner import LeanModel, WholeModel, runner
from taosr_she.engine.shared_prefix import shared_logprobs
from taosr_she.engine.speedups import without
from taosr_she.model.adapter import add_adapter, trained
from taosr_she.model.lora import LoraConfig
from taosr_she.model.policy import Policy
from taosr_she.model.sampler import Sampling, sample_groups

peft = pytest.importorskip("peft")

PROMPTS = [[5, 9, 3, 30, 7, 12, 8], [4], [21, 6, 2]]
GROUP = [0, 0, 1, 2, 2]
LENGTHS = [5, 3, 4, 1, 5]
ADAPTERS = {
    "all": LoraConfig(rank=4, alpha=6),
    "two targets": LoraConfig(rank=2, alpha=3, targets=("q_proj", "down_proj")),
}


@pytest.fixture(params=ADAPTERS)
def config(request: pytest.FixtureRequest) -> LoraConfig:
    return ADAPTERS[request.param]


@pytest.fixture(params=["qwen3", "llama", "qwen2"])
def policy(request: pytest.FixtureRequest, config: LoraConfig, make_policy: Callable[..., Policy]) -> Policy:
    """With an adapter that says something: B is zero at first."""
    made = make_policy(request.param)
    add_adapter(made.model, config, "some/base", seed=3)
    wake(made.model)
    return made


def wake(model: Any) -> None:
    torch.manual_seed(4)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)


def batch(policy: Policy) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    group = torch.tensor(GROUP, device=policy.device)
    torch.manual_seed(5)
    ids = torch.randint(2, 40, (len(GROUP), 5)).to(policy.device)
    return group, ids, torch.arange(5, device=policy.device) < torch.tensor(LENGTHS, device=policy.device)[:, None]


def pefts(policy: Policy, config: LoraConfig, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Log-probabilities by PEFT's own class around the same layers, row by row."""
    found = []
    for row, keep, g in zip(ids, mask, GROUP, strict=True):
        whole = torch.tensor([PROMPTS[g] + row[keep].tolist()], device=policy.device)
        logits = policy.model(input_ids=whole, use_cache=False).logits[0, len(PROMPTS[g]) - 1 : -1]
        found.append(log_softmax(logits.float(), -1).gather(-1, row[keep][:, None])[:, 0])
    return torch.cat(found)


def gradients(policy: Policy, logprobs: torch.Tensor) -> dict[str, torch.Tensor]:
    weights = {name: w for name, w in policy.model.named_parameters() if w.requires_grad}
    torch.manual_seed(6)
    loss = (logprobs * torch.randn(logprobs.shape).to(logprobs)).sum()
    return dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))


def test_only_the_adapter_is_trained(policy: Policy, config: LoraConfig) -> None:
    names = {name for name, w in policy.model.named_parameters() if w.requires_grad}
    assert names and all("lora_A" in n or "lora_B" in n for n in names)
    assert {n.split(".lora_")[0].rpartition(".")[2] for n in names} == set(
        config.targets or ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    )
    assert len(trained(policy.model)) == len(names) and has_adapter(policy.model)


@pytest.mark.parametrize("left_out", [(), ("lean_pass",), ("shared_prompts",)])
def test_values_and_gradients_are_those_of_peft(policy: Policy, config: LoraConfig, left_out: tuple[str, ...]) -> None:
    group, ids, mask = batch(policy)
    with without(*left_out):
        assert isinstance(runner(policy.model), WholeModel if "lean_pass" in left_out else LeanModel)
        ours, _ = shared_logprobs(policy.model, PROMPTS, group, ids, mask)
        found = gradients(policy, ours[mask])
    theirs = pefts(policy, config, ids, mask)
    torch.testing.assert_close(ours[mask], theirs, atol=1e-4, rtol=1e-4)
    for name, expected in gradients(policy, theirs).items():
        assert expected.norm() > 0
        torch.testing.assert_close(found[name], expected, atol=2e-4 * float(expected.norm()), rtol=0, msg=name)


def test_an_adapter_of_pefts_own_making(make_policy: Callable[..., Policy]) -> None:
    """The model inside of PEFT's wrapper, as `get_peft_model` gives it, runs lean and alike."""
    policy = make_policy("qwen3")
    wrapped = peft.get_peft_model(policy.model, peft.LoraConfig(r=4, target_modules="all-linear"))
    wake(wrapped)
    inner = wrapped.get_base_model()
    assert isinstance(runner(inner), LeanModel)
    group, ids, mask = batch(policy)
    ours, _ = shared_logprobs(inner, PROMPTS, group, ids, mask)
    for b, g in enumerate(GROUP):
        row = PROMPTS[g] + ids[b][mask[b]].tolist()
        logits = wrapped(input_ids=torch.tensor([row], device=policy.device)).logits[0]
        expected = log_softmax(logits, -1)[range(len(PROMPTS[g]) - 1, len(row) - 1), row[len(PROMPTS[g]) :]]
        torch.testing.assert_close(ours[b][mask[b]], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_decoding_is_that_of_peft(policy: Policy, temperature: float) -> None:
    rollouts = sample_groups(policy, PROMPTS, 2, Sampling(max_new_tokens=9, temperature=temperature), seed=1)
    for b, (ids, mask) in enumerate(zip(rollouts.ids, rollouts.mask, strict=True)):
        prompt, row = PROMPTS[b // 2], ids[mask].tolist()
        with torch.no_grad():
            logits = policy.model(torch.tensor([prompt + row], device=policy.device)).logits[0].float()
        expected = log_softmax(logits, -1)[range(len(prompt) - 1, len(prompt) + len(row) - 1), row].cpu()
        torch.testing.assert_close(rollouts.logprobs[b][: len(row)], expected, atol=1e-4, rtol=0)
        if temperature == 0:
            whole = policy.model.generate(
                torch.tensor([prompt], device=policy.device), do_sample=False, max_new_tokens=9, use_cache=True
            )
            assert whole[0, len(prompt) :].tolist() == row


def test_off_it_is_the_base_model(policy: Policy, config: LoraConfig, make_policy: Callable[..., Policy]) -> None:
    group, ids, mask = batch(policy)
    base = make_policy(policy.model.config.model_type)
    expected, _ = response_logprobs(base.model, [PROMPTS[g] for g in GROUP], ids, mask)
    on, _ = shared_logprobs(policy.model, PROMPTS, group, ids, mask)
    with adapter_off(policy.model):
        for left_out in ((), ("lean_pass",)):
            with without(*left_out):
                off, _ = shared_logprobs(policy.model, PROMPTS, group, ids, mask)
            torch.testing.assert_close(off, expected, atol=1e-4, rtol=1e-4)
            assert not off.requires_grad
    again, _ = shared_logprobs(policy.model, PROMPTS, group, ids, mask)
    assert torch.equal(on, again) and again.requires_grad and not torch.allclose(on, expected, atol=0.01)


@pytest.mark.parametrize("lean", [True, False])
def test_dropout_is_that_of_peft(lean: bool, make_policy: Callable[..., Policy]) -> None:
    policy = make_policy("qwen3")
    add_adapter(policy.model, LoraConfig(rank=4, dropout=0.4), "some/base", seed=3)
    wake(policy.model)
    ids = torch.tensor([PROMPTS[0]], device=policy.device)
    positions, places = torch.arange(7, device=policy.device)[None], torch.arange(7, device=policy.device)

    def attention(module: Any, query: Any, key: Any, value: Any, scale: float) -> Any:
        return torch.nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scale, enable_gqa=True
        ).transpose(1, 2)

    policy.model.train()
    found = []
    for out in range(2):
        torch.manual_seed(7)
        if out:
            logits = policy.model(input_ids=ids, use_cache=False).logits[0]
        else:
            with nullcontext() if lean else without("lean_pass"):
                logits = runner(policy.model).logits(ids, positions, attention, places)
        found.append(logits)
    torch.testing.assert_close(*found, atol=1e-4, rtol=1e-4)


def test_dropout_of_a_step_hangs_on_its_seed_alone(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy("qwen3")
    add_adapter(policy.model, LoraConfig(rank=4, dropout=0.4), "some/base", seed=3)
    wake(policy.model)
    group, ids, mask = batch(policy)

    def once(seed: int) -> torch.Tensor:
        with adapter_dropout(policy.model, seed):
            return shared_logprobs(policy.model, PROMPTS, group, ids, mask)[0]

    off, _ = shared_logprobs(policy.model, PROMPTS, group, ids, mask)
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first = once(5)
    assert torch.equal(torch.rand(1), expected)  # the global generator is where it was
    assert torch.equal(first, once(5)) and not torch.allclose(first, once(6)) and not torch.allclose(first, off)
    assert torch.equal(off, shared_logprobs(policy.model, PROMPTS, group, ids, mask)[0])


@pytest.mark.parametrize("what", ["dora", "two adapters", "merged", "another type", "bias"])
def test_what_is_more_than_plain_lora_runs_as_peft_does_it(what: str, make_policy: Callable[..., Policy]) -> None:
    policy = make_policy("qwen3")
    targets = {"r": 4, "target_modules": ["q_proj"]}
    wrapped = peft.get_peft_model(policy.model, peft.LoraConfig(**targets, use_dora=what == "dora"))
    if what == "two adapters":
        wrapped.add_adapter("second", peft.LoraConfig(**targets))
        wrapped.base_model.set_adapter(["default", "second"])
    if what == "merged":
        wrapped.merge_adapter()
    if what == "another type":
        wrapped.base_model.model.model.layers[0].self_attn.q_proj.lora_A.default.to(torch.bfloat16)
    if what == "bias":
        wrapped.base_model.model.model.layers[0].self_attn.q_proj.lora_B.default.bias = torch.nn.Parameter(
            torch.zeros(32)
        )
    assert isinstance(runner(wrapped.get_base_model()), WholeModel)


@pytest.fixture(autouse=True)
def fresh_seed() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        yield


def test_frozen_weights_are_rounded_once_under_autocast(policy: Policy) -> None:
    group, ids, mask = batch(policy)
    with torch.autocast(policy.device.type, dtype=torch.bfloat16):
        lean, _ = shared_logprobs(policy.model, PROMPTS, group, ids, mask)
        with without("lean_pass"):
            whole, _ = shared_logprobs(policy.model, PROMPTS, group, ids, mask)
        product = LeanModel(policy.model).layers[0].out
        assert product.weight.dtype == torch.bfloat16
        gradient = gradients(policy, lean[mask])
    exact, _ = shared_logprobs(policy.model, PROMPTS, group, ids, mask)
    assert 0 < (lean - exact).norm() < 2 * (whole - exact).norm()
    for name, expected in gradients(policy, exact[mask]).items():
        assert torch.nn.functional.cosine_similarity(gradient[name].flatten(), expected.flatten(), dim=0) > 0.9, name
