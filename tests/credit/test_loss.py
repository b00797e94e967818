import importlib.util
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.credit.advantages import step_advantages, token_advantages
from taosr_she.credit.config import CreditConfig, LossConfig
from taosr_she.credit.loss import policy_loss

spec = importlib.util.spec_from_file_location("credit_reference", Path(__file__).with_name("reference.py"))
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)


def make(seed, rows=4, tokens=6):
    generator = torch.Generator().manual_seed(seed)
    logp = -torch.rand(rows, tokens, generator=generator, dtype=torch.float64) * 3
    old = logp + 0.4 * torch.randn(rows, tokens, generator=generator, dtype=torch.float64)
    ref = logp + 0.4 * torch.randn(rows, tokens, generator=generator, dtype=torch.float64)
    advantages = torch.randn(rows, tokens, generator=generator, dtype=torch.float64)
    lengths = torch.randint(1, tokens + 1, (rows,), generator=generator)
    return logp, old, ref, advantages, torch.arange(tokens) < lengths[:, None]


configs = st.builds(
    LossConfig, beta=st.sampled_from([0.0, 0.1]), normalise=st.sampled_from(["token", "response"]),
    clip_low=st.sampled_from([0.1, 0.2]), clip_high=st.sampled_from([0.2, 0.3]),
)  # fmt: skip


@given(st.integers(0, 10**6), configs)
def test_equals_the_loop_reference(seed, config):
    logp, old, ref, advantages, mask = make(seed)
    loss, _ = policy_loss(logp, old, advantages, mask, config, ref)
    expected = reference.policy_loss(
        logp.tolist(), old.tolist(), advantages.tolist(), mask.tolist(), config, ref.tolist()
    )
    assert loss.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("normalise", ["token", "response"])
def test_gradient_is_that_of_the_formula(normalise):
    logp, old, ref, advantages, mask = make(1)
    config = LossConfig(beta=0.1, normalise=normalise)
    assert torch.autograd.gradcheck(
        lambda x: policy_loss(x, old, advantages, mask, config, ref)[0], logp.requires_grad_()
    )


def test_on_policy_gradient_is_plain_policy_gradient():
    logp, _, _, advantages, mask = make(2)
    logp.requires_grad_()
    policy_loss(logp, None, advantages, mask, LossConfig())[0].backward()
    torch.testing.assert_close(logp.grad, -(advantages * mask) / mask.sum())


@pytest.mark.parametrize("normalise", ["token", "response"])
def test_microbatches_add_up_to_the_whole(normalise):
    logp, old, ref, advantages, mask = make(3)
    config = LossConfig(beta=0.1, normalise=normalise)
    denominator = mask.sum() if normalise == "token" else len(logp)

    def loss_and_gradient(parts, denominator):
        x = logp.clone().requires_grad_()
        losses = [policy_loss(x[i], old[i], advantages[i], mask[i], config, ref[i], denominator)[0] for i in parts]
        for loss in losses:
            loss.backward(retain_graph=True)
        return sum(losses).detach(), x.grad

    whole = loss_and_gradient([slice(0, 4)], None)
    torch.testing.assert_close(loss_and_gradient([slice(0, 1), slice(1, 4)], denominator), whole)


@pytest.mark.parametrize("normalise", ["token", "response"])
def test_padding_may_hold_anything(normalise):
    logp, old, ref, advantages, mask = make(5)
    config = LossConfig(beta=0.1, normalise=normalise)
    expected, stats = policy_loss(logp, old, advantages, mask, config, ref)
    padded = logp.masked_fill(~mask, -torch.inf).requires_grad_()
    old, ref = old.masked_fill(~mask, torch.nan), ref.masked_fill(~mask, torch.inf)
    loss, padded_stats = policy_loss(padded, old, advantages, mask, config, ref)
    loss.backward()
    torch.testing.assert_close(loss, expected)
    assert padded_stats == stats
    assert padded.grad.isfinite().all()
    assert not padded.grad[~mask].any()


def test_a_batch_without_tokens_has_loss_zero():
    empty = torch.zeros(2, 3, dtype=torch.bool)
    for normalise in ("token", "response"):
        loss, _ = policy_loss(torch.zeros(2, 3), None, torch.ones(2, 3), empty, LossConfig(normalise=normalise))
        assert loss.item() == 0


def test_stats_are_means_over_the_tokens():
    logp, old = torch.log(torch.tensor([[2.0, 1.0, 9.0]])), torch.zeros(1, 3)
    ref, mask = torch.log(torch.tensor([[4.0, 1.0, 9.0]])), torch.tensor([[True, True, False]])
    _, stats = policy_loss(logp, old, torch.ones(1, 3), mask, LossConfig(beta=0.1), ref)
    assert stats == pytest.approx(
        {"clip_share": 0.5, "ratio": 1.5, "approx_kl": (1 - math.log(2)) / 2, "kl": (1 - math.log(2)) / 2}
    )
    assert policy_loss(logp, None, torch.ones(1, 3), mask, LossConfig())[1] == {
        "clip_share": 0.0, "ratio": 1.0, "approx_kl": 0.0, "kl": 0.0,
    }  # fmt: skip


def test_clip_share_counts_tokens_where_clipping_acts():
    logp = torch.log(torch.tensor([[1.5, 0.5, 1.5, 0.5]]))
    advantages = torch.tensor([[1.0, 1.0, -1.0, -1.0]])
    _, stats = policy_loss(logp, torch.zeros(1, 4), advantages, torch.ones(1, 4, dtype=torch.bool), LossConfig())
    assert stats["clip_share"] == 0.5


def test_kl_without_reference_is_an_error():
    logp, old, _, advantages, mask = make(4)
    with pytest.raises(ValueError, match="reference"):
        policy_loss(logp, old, advantages, mask, LossConfig(beta=0.1))


@pytest.fixture(scope="module")
def build_trainer(tmp_path_factory):
    """A function that builds a tiny GRPOTrainer of the installed TRL, used for its loss and its advantages alone."""
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    words = {word: i for i, word in enumerate(["<pad>", "<end>", "<unk>", "red", "boots", *map(str, range(27))])}
    core = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<end>", unk_token="<unk>")
    torch.manual_seed(0)
    shape = Qwen3Config(
        vocab_size=len(words), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, pad_token_id=0, eos_token_id=1, bos_token_id=None,
    )  # fmt: skip
    model = Qwen3ForCausalLM(shape)

    def build(loss_type, scale="none"):
        args = GRPOConfig(
            output_dir=str(tmp_path_factory.mktemp("grpo")), use_cpu=True, bf16=False, gradient_checkpointing=False,
            per_device_train_batch_size=8, num_generations=4, max_completion_length=4, loss_type=loss_type,
            report_to="none", scale_rewards=scale,
        )  # fmt: skip
        args.use_bias_correction_kl = False  # the k3 estimator as in the GRPO paper, which is ours
        return GRPOTrainer(
            model=model, processing_class=tokenizer, args=args, reward_funcs=lambda completions, **_: [0.0],
            train_dataset=Dataset.from_dict({"prompt": ["red", "boots"] * 4}),
        )  # fmt: skip

    return build


@pytest.mark.parametrize("off_policy", [True, False])
@pytest.mark.parametrize("beta", [0.0, 0.2])
@pytest.mark.parametrize(("loss_type", "normalise"), [("bnpo", "token"), ("grpo", "response")])
def test_equals_trl_grpo_loss_and_gradient(build_trainer, loss_type, normalise, beta, off_policy):
    trainer = build_trainer(loss_type)
    # Set here because the constructor would load a reference model, whose log-probabilities are given, and because the
    # training loop, which does not run, counts the accumulation steps.
    trainer.beta, trainer.current_gradient_accumulation_steps = beta, 1
    model = trainer.model.train()
    generator = torch.Generator().manual_seed(7)
    rows, width, length = 4, 5, 6
    prompt = torch.randint(3, 32, (rows, width), generator=generator)
    ids = torch.randint(3, 32, (rows, length), generator=generator)
    mask = torch.arange(length) < torch.tensor([6, 3, 5, 1])[:, None]
    outcomes, groups = torch.tensor([1.0, 0.0, 0.0, 1.0]), torch.zeros(rows, dtype=torch.long)
    by_step = step_advantages(CreditConfig(rule="outcome"), torch.full((rows, 5), torch.nan), outcomes, groups, 4)
    advantages = token_advantages(by_step, torch.where(mask, torch.arange(length) % 5, -1))

    def logprobs():
        attention = torch.cat([torch.ones_like(prompt), mask.long()], dim=1)
        logits = model(torch.cat([prompt, ids], dim=1), attention_mask=attention).logits[:, width - 1 : -1]
        return logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]

    def gradients(loss):
        model.zero_grad()
        loss.backward()
        return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    shift = 0.4 * torch.randn(2, rows, length, generator=generator)  # enough for the clipping to act
    old, ref = logprobs().detach() + shift
    old = old if off_policy else None
    inputs = {
        "prompt_ids": prompt, "prompt_mask": torch.ones_like(prompt), "completion_ids": ids,
        "completion_mask": mask.long(), "advantages": by_step[:, 0], "old_per_token_logps": old,
        "ref_per_token_logps": ref, "num_items_in_batch": mask.sum(),
    }  # fmt: skip
    theirs = trainer._compute_loss(model, inputs)
    config = LossConfig(beta=beta, normalise=normalise)
    ours, stats = policy_loss(logprobs(), old, advantages, mask, config, ref)
    assert (stats["clip_share"] > 0) == off_policy
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    torch.testing.assert_close(gradients(ours), gradients(theirs), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("std", "scale"), [(False, "none"), (True, "group")])
def test_outcome_rule_equals_trl_advantages(build_trainer, std, scale):
    trainer = build_trainer("grpo", scale)
    rewards = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0])
    trainer._calculate_rewards = lambda *_, **__: rewards[:, None]
    theirs = trainer._generate_and_score_completions([{"prompt": "red"}] * 4 + [{"prompt": "boots"}] * 4)["advantages"]
    groups = torch.tensor([0] * 4 + [1] * 4)
    ours = step_advantages(CreditConfig(rule="outcome", std=std), torch.full((8, 5), torch.nan), rewards, groups, 4)
    torch.testing.assert_close(theirs.flatten(), ours[:, 0], atol=1e-5, rtol=1e-5)
