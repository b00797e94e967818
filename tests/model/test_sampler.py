"""The group sampler against `generate` and full forward passes, for several architectures."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from flash_reference import flash_reference
from pydantic import ValidationError
from scipy.stats import chisquare
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from taosr_she.base.errors import UserError
from taosr_she.engine.decode import CopiedPrompts, SharedPrompts
from taosr_she.engine.logprobs import response_logprobs
from taosr_she.engine.runner import is_lean
from taosr_she.engine.speedups import without
from taosr_she.model.batches import check_runs
from taosr_she.model.policy import Policy
from taosr_she.model.sampler import Rollouts, Sampling, sample_groups

PROMPTS = [[5, 9, 3, 30, 7, 12, 8], [4], [21, 6, 2], [33, 2, 17, 11, 6], [8, 8, 8]]
SAMPLED = Sampling(max_new_tokens=14, temperature=0.9)


@pytest.fixture(autouse=True, params=["small prompts copied", "never copied", "fixed shapes", "fixed shapes, flash"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, device: torch.device) -> Iterator[str]:
    """All ways to keep the prompts: by their size these would all be copied, and shapes are fixed on a GPU alone."""
    fixed = request.param.startswith("fixed shapes")
    if request.param.endswith("flash"):
        if device.type != "cpu":
            pytest.skip("it is taken there without being asked for")
        monkeypatch.setattr("taosr_she.engine.recorded.has_kernel", lambda query: True)
        monkeypatch.setattr("taosr_she.engine.flash_parts._forward", flash_reference)
    monkeypatch.setattr("taosr_she.model.sampler.recordable", lambda model, steps: fixed and is_lean(model))
    with without(*(["copied_prompts"] if request.param == "never copied" else [])):
        yield request.param


def ends_often(policy: Policy) -> Policy:
    """A quarter of the vocabulary ends a response, so rows finish at all lengths."""
    policy.model.generation_config.eos_token_id = list(range(0, 40, 4))
    return policy


def responses(rollouts: Rollouts) -> list[list[int]]:
    return [ids[mask].tolist() for ids, mask in zip(rollouts.ids, rollouts.mask, strict=True)]


@contextmanager
def batch_sizes(policy: Policy) -> Iterator[list[tuple[int, int]]]:
    """(rows, new tokens) of every forward pass."""
    sizes: list[tuple[int, int]] = []
    embeddings = policy.model.get_input_embeddings()
    handle = embeddings.register_forward_pre_hook(lambda _, args: sizes.append(tuple(args[0].shape)))
    yield sizes
    handle.remove()


def test_greedy_equals_generate(any_policy: Policy) -> None:
    policy = ends_often(any_policy)
    rollouts = sample_groups(policy, PROMPTS, 2, Sampling(max_new_tokens=14, temperature=0), seed=0)
    ours = responses(rollouts)
    assert ours[::2] == ours[1::2]
    for prompt, row in zip(PROMPTS, ours[::2], strict=True):  # one by one: without padding, without a batch
        whole = policy.model.generate(
            torch.tensor([prompt], device=policy.device),
            do_sample=False,
            max_new_tokens=14,
            eos_token_id=list(policy.end_ids),
            use_cache=True,
        )
        assert whole[0, len(prompt) :].tolist() == row
    assert len({len(row) for row in ours}) > 1  # the test is about something


@pytest.mark.parametrize("sampling", [SAMPLED, Sampling(max_new_tokens=9, temperature=1.3, top_k=12, top_p=0.9)])
def test_logprobs_equal_a_full_forward_pass(any_policy: Policy, sampling: Sampling) -> None:
    policy = ends_often(any_policy)
    rollouts = sample_groups(policy, PROMPTS, 4, sampling, seed=1)
    for b, row in enumerate(responses(rollouts)):
        prompt = PROMPTS[int(rollouts.group[b])]
        with torch.no_grad():
            logits = policy.model(torch.tensor([prompt + row], device=policy.device)).logits[0].double().cpu()
        logits /= sampling.temperature
        expected = logits.log_softmax(-1)[range(len(prompt) - 1, len(prompt) + len(row) - 1), row]
        torch.testing.assert_close(rollouts.logprobs[b][: len(row)].double(), expected, atol=1e-4, rtol=0)


def test_trainer_recomputes_the_same(any_policy: Policy) -> None:
    rollouts = sample_groups(ends_often(any_policy), PROMPTS, 4, SAMPLED, seed=2)
    prompts = [PROMPTS[g] for g in rollouts.group]
    ids, mask = rollouts.ids.to(any_policy.device), rollouts.mask.to(any_policy.device)
    logprobs, _ = response_logprobs(any_policy.model, prompts, ids, mask, SAMPLED.temperature)
    torch.testing.assert_close(logprobs.cpu(), rollouts.logprobs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("architecture", ["qwen3", "llama"])
def test_under_autocast_it_errs_by_rounding_alone(architecture: str, make_policy: Callable[..., Policy]) -> None:
    policy = ends_often(make_policy(architecture))
    with torch.autocast(policy.device.type, dtype=torch.bfloat16):
        rollouts = sample_groups(policy, PROMPTS, 4, SAMPLED, seed=2)
    tensors = [t.to(policy.device) for t in (rollouts.ids, rollouts.mask)]
    inputs = [PROMPTS[g] for g in rollouts.group], *tensors, SAMPLED.temperature
    exact, _ = response_logprobs(policy.model, *inputs)
    with torch.autocast(policy.device.type, dtype=torch.bfloat16):
        rounded, _ = response_logprobs(policy.model, *inputs)
    assert 0 < (rollouts.logprobs.to(policy.device) - exact).norm() < 1.5 * (rounded - exact).norm()


def test_what_is_kept_under_autocast_is_in_half_precision(make_policy: Callable[..., Policy]) -> None:
    """In float32 it would be rounded anew for every token."""
    policy = make_policy("qwen3")
    kept: list[torch.dtype] = []
    with torch.autocast(policy.device.type, dtype=torch.bfloat16), torch.no_grad():
        for way in (SharedPrompts, CopiedPrompts):
            group = torch.tensor([0, 0, 1], device=policy.device)
            state = way(policy.model, PROMPTS[:2], group, 3)
            state.advance(torch.tensor([4, 5, 6], device=policy.device))
            kept += [t.dtype for layer in state.cache.layers for t in (layer.keys, layer.values)]
    assert set(kept) == {torch.bfloat16}


def test_shape_of_the_result(any_policy: Policy) -> None:
    policy = ends_often(any_policy)
    rollouts = sample_groups(policy, PROMPTS, 4, Sampling(max_new_tokens=6), seed=3, max_rows=8)
    assert rollouts.group.tolist() == [p for p in range(5) for _ in range(4)]
    lengths = rollouts.mask.sum(1)
    assert rollouts.ids.shape == rollouts.logprobs.shape == (20, int(lengths.max()))
    assert 0 < int(rollouts.finished.sum()) < 20
    for row, finished in zip(responses(rollouts), rollouts.finished, strict=True):
        assert not set(row[:-1]) & set(policy.end_ids)
        assert (row[-1] in policy.end_ids) == bool(finished)
        assert finished or len(row) == 6
    assert torch.equal(rollouts.mask, torch.arange(rollouts.ids.shape[1]) < lengths[:, None])
    assert (rollouts.ids[~rollouts.mask] == policy.pad_id).all() and (rollouts.logprobs[~rollouts.mask] == 0).all()


def test_prompt_runs_once_and_finished_rows_leave(any_policy: Policy, way: str, device: torch.device) -> None:
    if way.startswith("fixed shapes") or device.type != "cpu":
        pytest.skip("rows leave later where a step costs the same for fewer of them")
    policy = ends_often(any_policy)
    check_runs(policy.model)  # tries small examples once
    with batch_sizes(policy) as sizes:
        rollouts = sample_groups(policy, PROMPTS, 16, SAMPLED, seed=4)
    assert sizes[0] == (5, 7)
    lengths = rollouts.mask.sum(1)
    assert len(sizes) == int(lengths.max())
    for step, (rows, new) in enumerate(sizes[1:], start=1):
        alive = int((lengths > step).sum())
        assert new == 1 and alive <= rows <= alive * 8 / 7
    assert sizes[-1][0] < 20


def test_two_tokens_follow_the_models_distribution(make_policy: Callable[..., Policy]) -> None:
    vocab, count, prompt = 6, 20_000, [2, 3, 5]
    policy = make_policy("qwen3", vocab)
    policy.tokenizer.eos_token = "w5"
    policy.model.generation_config.eos_token_id = None
    rollouts = sample_groups(policy, [prompt], count, Sampling(max_new_tokens=2, temperature=2.5), seed=5)
    with torch.no_grad():
        ids = torch.tensor([[*prompt, t] for t in range(vocab)], device=policy.device)
        logits = policy.model(ids).logits.double().cpu() / 2.5
    first, second = logits[0, -2].softmax(-1), logits[:, -1].softmax(-1)
    expected = (first[:, None] * second).flatten()
    expected = torch.cat([expected[: 5 * vocab], first[5:]]) * count  # the end token stands alone
    pairs = [row[0] * vocab + row[1] if row[0] < 5 else 5 * vocab for row in responses(rollouts)]
    observed = torch.bincount(torch.tensor(pairs), minlength=5 * vocab + 1)
    assert expected.min() > 5  # or chi-square does not hold
    assert chisquare(observed, expected).pvalue > 1e-4


def test_truncation_keeps_to_the_likeliest(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy("qwen3")
    for sampling, kept in ((Sampling(max_new_tokens=1, top_k=3), 3), (Sampling(max_new_tokens=1, top_p=0.5), None)):
        rollouts = sample_groups(policy, [PROMPTS[0]], 500, sampling, seed=6)
        with torch.no_grad():
            probabilities, order = (
                policy.model(torch.tensor([PROMPTS[0]], device=policy.device))
                .logits[0, -1]
                .softmax(-1)
                .sort(descending=True)
            )
        size = kept or int((probabilities.cumsum(0) < 0.5).sum()) + 1
        assert set(rollouts.ids.flatten().tolist()) == set(order[:size].tolist())


def test_rows_do_not_depend_on_chunks_or_neighbours(any_policy: Policy) -> None:
    policy = ends_often(any_policy)
    whole = responses(sample_groups(policy, PROMPTS, 3, SAMPLED, seed=7))
    assert responses(sample_groups(policy, PROMPTS, 3, SAMPLED, seed=7)) == whole
    assert responses(sample_groups(policy, PROMPTS, 3, SAMPLED, seed=8)) != whole
    assert responses(sample_groups(policy, PROMPTS, 3, SAMPLED, seed=7, max_rows=1)) == whole
    others = [[7, 7], PROMPTS[1], [2] * 12, PROMPTS[3], [9]]
    mixed = responses(sample_groups(policy, others, 3, SAMPLED, seed=7))
    assert [mixed[3:6], mixed[9:12]] == [whole[3:6], whole[9:12]]


def test_model_and_random_state_are_left_as_found(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy("gpt2")  # the one with dropout
    quiet = responses(sample_groups(policy, PROMPTS, 2, SAMPLED, seed=9))
    before = torch.get_rng_state()
    policy.model.train()
    assert responses(sample_groups(policy, PROMPTS, 2, SAMPLED, seed=9)) == quiet
    assert policy.model.training and torch.equal(torch.get_rng_state(), before)
    policy.model(
        torch.tensor([PROMPTS[0]], device=policy.device)
    ).logits.sum().backward()  # nothing of inference mode stuck to the model


def test_no_prompts(make_policy: Callable[..., Policy]) -> None:
    rollouts = sample_groups(make_policy("qwen3"), [], 4, SAMPLED, seed=0)
    assert rollouts.ids.shape == rollouts.mask.shape == (0, 0) and len(rollouts.group) == 0


def test_mistakes(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy("qwen3")
    with pytest.raises(UserError, match="60 tokens and max_new_tokens=14 exceed the model's 64 positions"):
        sample_groups(policy, [[2] * 60], 1, SAMPLED, seed=0)
    with torch.no_grad():
        policy.model.lm_head.weight[:] = torch.nan
    with pytest.raises(UserError, match="not finite"):
        sample_groups(policy, PROMPTS, 2, SAMPLED, seed=0)
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "vocab_size": 40, "num_heads": 4, "head_dim": 4, "n_groups": 1}
    policy.model = AutoModelForCausalLM.from_config(CONFIG_MAPPING["mamba2"](**shape)).to(policy.device)
    with pytest.raises(UserError, match="Mamba2ForCausalLM keeps no keys and values"):
        sample_groups(policy, PROMPTS, 2, SAMPLED, seed=0)
    for wrong in ({"top_p": 0.0}, {"temperature": -1}, {"max_new_tokens": 0}, {"beams": 4}):
        with pytest.raises(ValidationError):
            Sampling(**wrong)
