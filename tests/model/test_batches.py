"""Architectures that answer rows in a batch otherwise than alone: one prompt at a time, or refused in one line."""

import inspect
import logging
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from transformers.models.doge import modeling_doge

from taosr_she.base.errors import UserError
from taosr_she.engine.logprobs import response_logprobs
from taosr_she.engine.shared_prefix import shared_logprobs, unshareable
from taosr_she.model.batches import check_runs, one_prompt_at_a_time
from taosr_she.model.policy import Policy
from taosr_she.model.sampler import Sampling, sample_groups

PROMPTS = [[5, 9, 3, 30, 7, 12, 8], [4], [21, 6, 2], [33, 2, 17, 11, 6], [8, 8, 8]]
ROPE = {
    "vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 4, "max_position_embeddings": 64, "initializer_range": 0.3,
}  # fmt: skip
LATENT = ROPE | {
    "kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16,
    "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "n_group": 1, "topk_group": 1,
    "first_k_dense_replace": 1,
}  # fmt: skip
BART = {
    "vocab_size": 40, "d_model": 32, "decoder_layers": 2, "encoder_layers": 2, "decoder_attention_heads": 4,
    "encoder_attention_heads": 4, "decoder_ffn_dim": 48, "encoder_ffn_dim": 48, "max_position_embeddings": 64,
    "init_std": 0.3,
}  # fmt: skip
SHAPES: dict[str, dict[str, Any]] = {
    "deepseek_v2": LATENT, "deepseek_v3": LATENT, "bart": BART, "bert": ROPE, "doge": ROPE,
    "minimax": ROPE | {"num_local_experts": 2, "head_dim": 8},
}  # fmt: skip

# Older releases (5.17) leave the causal mask out of a pass over one row without padding, and Doge's own mask then
# hides nothing: it sees what follows, on every device, and is rightly refused.
CAUSAL_DOGE = "allow_is_causal_skip=False" in inspect.getsource(modeling_doge)


@pytest.fixture
def policy(make_policy: Any, request: pytest.FixtureRequest) -> Policy:
    """The architecture named by the test, with random weights."""
    policy: Policy = make_policy("qwen3")
    torch.manual_seed(3)
    config = CONFIG_MAPPING[request.param](**SHAPES[request.param], bos_token_id=0, eos_token_id=0, pad_token_id=1)
    policy.model = AutoModelForCausalLM.from_config(config).to(policy.device).eval()
    return policy


def alone(policy: Policy, prompt: list[int], steps: int) -> list[int]:
    """The greedy answer by whole passes over one row."""
    ids = list(prompt)
    while len(ids) < len(prompt) + steps and (len(ids) == len(prompt) or ids[-1] != 0):
        with torch.no_grad():
            logits = policy.model(torch.tensor([ids], device=policy.device), use_cache=False).logits
            ids.append(int(logits[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize(
    ("policy", "reason", "one"),
    [
        ("deepseek_v2", "its value heads are not as wide as its key heads", False),
        ("deepseek_v3", "its value heads are not as wide as its key heads", False),
        pytest.param(
            "doge",
            "it fails with shared prompts (TypeError",
            False,
            marks=pytest.mark.skipif(not CAUSAL_DOGE, reason="Doge of this transformers is not causal"),
        ),
        ("bart", "its attention cannot be replaced", True),
    ],
    indirect=["policy"],
)
def test_the_plain_path_answers_as_each_row_alone(
    policy: Policy, reason: str, one: bool, caplog: pytest.LogCaptureFixture
) -> None:
    assert unshareable(policy.model).startswith(reason)
    assert one_prompt_at_a_time(policy.model) is one
    rollouts = sample_groups(policy, PROMPTS, 2, Sampling(max_new_tokens=8, temperature=0), 0)
    found = [ids[mask].tolist() for ids, mask in zip(rollouts.ids, rollouts.mask, strict=True)]
    assert found == [alone(policy, p, 8) for p in PROMPTS for _ in range(2)]
    inputs = rollouts.ids, rollouts.mask
    with caplog.at_level(logging.WARNING), torch.no_grad():
        ours, _ = shared_logprobs(policy.model, PROMPTS, rollouts.group, *inputs)
        plain, _ = response_logprobs(policy.model, [PROMPTS[g] for g in rollouts.group], *inputs)
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(ours, rollouts.logprobs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("bert", "BertLMHeadModel gives a row another answer in a batch"),  # it sees what follows: no causal model
        ("minimax", r"MiniMaxForCausalLM cannot be run token by token \(ValueError: MiniMax uses cache of its own"),
    ],
    indirect=["policy"],
)
def test_models_that_would_not_answer_as_they_are_trained(policy: Policy, message: str) -> None:
    short = Sampling(max_new_tokens=4)
    for use in (lambda: check_runs(policy.model), lambda: sample_groups(policy, PROMPTS, 1, short, 0)):
        with pytest.raises(UserError, match=message) as caught:
            use()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("policy", ["deepseek_v2"], indirect=True)
def test_a_diverged_model_is_not_called_one_that_cannot_be_run(policy: Policy) -> None:
    with torch.no_grad():
        policy.model.lm_head.weight[:] = torch.nan
    with pytest.raises(UserError, match="not finite"):
        sample_groups(policy, PROMPTS, 2, Sampling(max_new_tokens=4), 0)
