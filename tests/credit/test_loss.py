import importlib.util
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.credit.config import CreditConfig, LossConfig
from taosr_she.credit.advantages import step_advantages
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


def test_gradient_is_that_of_the_formula():
    logp, old, ref, advantages, mask = make(1)
    config = LossConfig(beta=0.1)
    torch.autograd.gradcheck(lambda x: policy_loss(x, old, advantages, mask, config, ref)[0], logp.requires_grad_())


def test_on_policy_gradient_is_plain_policy_gradient():
    logp, _, _, advantages, mask = make(2)
    logp.requires_grad_()
    policy_loss(logp, None, advantages, mask, LossConfig())[0].backward()
    torch.testing.assert_close(logp.grad, -(advantages * mask) / mask.sum())


@pytest.mark.parametrize("normalise", ["token", "response"])
def test_microbatches_add_up_to_the_whole(normalise):
    logp, old, ref, advantages, mask = make(3)
    config = LossConfig(beta=0.1, normalise=normalise)
    whole, _ = policy_loss(logp, old, advantages, mask, config, ref)
    denominator = float(mask.sum()) if normalise == "token" else len(logp)
    parts = [
        policy_loss(logp[i], old[i], advantages[i], mask[i], config, ref[i], denominator)[0]
        for i in (slice(0, 1), slice(1, 4))
    ]
    torch.testing.assert_close(sum(parts), whole)


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
def trainer_parts(tmp_path_factory):
    """A tiny GRPOTrainer of the installed TRL, used for its loss alone."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from taosr_she.domain.domain import load_domain
    from taosr_she.model.tiny import TinyConfig, build_tiny

    policy = build_tiny(
        ["red boots under 50"] * 9, load_domain("taobao"), TinyConfig(hidden=32, layers=1, heads=2, ffn=32), 1
    )

    def build(loss_type, scale):
        args = GRPOConfig(
            output_dir=str(tmp_path_factory.mktemp("grpo")), use_cpu=True, bf16=False, gradient_checkpointing=False,
            per_device_train_batch_size=4, num_generations=4, max_completion_length=8, loss_type=loss_type,
            report_to="none", scale_rewards=scale,
        )  # fmt: skip
        data = Dataset.from_dict({"prompt": ["red", "boots"] * 4})
        return GRPOTrainer(
            model=policy.model, processing_class=policy.tokenizer, args=args, train_dataset=data,
            reward_funcs=lambda completions, **_: [0.0] * len(completions),
        )  # fmt: skip

    return policy, build


@pytest.mark.parametrize("beta", [0.0, 0.2])
@pytest.mark.parametrize(("loss_type", "normalise"), [("bnpo", "token"), ("grpo", "response")])
def test_equals_trl_grpo_loss_and_gradient(trainer_parts, loss_type, normalise, beta):
    from taosr_she.model.logprobs import response_logprobs

    policy, build = trainer_parts
    trainer = build(loss_type, "none")
    trainer.args.use_bias_correction_kl = False  # plain k3, as in the GRPO paper
    trainer.beta = beta  # the constructor would load a reference model from a path; its log-probabilities are given here
    generator = torch.Generator().manual_seed(7)
    rows, width, length = 4, 5, 6
    prompt = torch.randint(5, 200, (rows, width), generator=generator)
    ids = torch.randint(5, 200, (rows, length), generator=generator)
    mask = torch.arange(length) < torch.tensor([6, 3, 5, 1])[:, None]
    outcomes = torch.tensor([1.0, 0.0, 0.0, 1.0])
    verdicts = torch.full((rows, 5), float("nan"))
    advantages = step_advantages(CreditConfig(rule="outcome"), verdicts, outcomes, torch.zeros(rows).long(), 4)[:, 0]
    prompts = prompt.tolist()
    with torch.no_grad():
        logp, _ = response_logprobs(policy.model, prompts, ids, mask, 1.0)
    old = (logp + 0.3 * torch.randn(logp.shape, generator=generator)) * mask
    ref = (logp + 0.3 * torch.randn(logp.shape, generator=generator)) * mask
    policy.model.train()
    trainer.current_gradient_accumulation_steps = 1  # set by the training loop, which does not run here
    inputs = {
        "prompt_ids": prompt, "prompt_mask": torch.ones_like(prompt), "completion_ids": ids,
        "completion_mask": mask.long(), "advantages": advantages, "old_per_token_logps": old,
        "ref_per_token_logps": ref, "num_items_in_batch": mask.sum(),
    }  # fmt: skip
    policy.model.zero_grad()
    theirs = trainer._compute_loss(policy.model, inputs)
    theirs.backward()
    their_grads = {n: p.grad.clone() for n, p in policy.model.named_parameters()}
    policy.model.zero_grad()
    logp, _ = response_logprobs(policy.model, prompts, ids, mask, 1.0)
    config = LossConfig(beta=beta, normalise=normalise)
    ours, _ = policy_loss(logp, old, advantages[:, None].expand(rows, length), mask, config, ref)
    ours.backward()
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    for name, parameter in policy.model.named_parameters():
        torch.testing.assert_close(parameter.grad, their_grads[name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("std", "scale"), [(False, "none"), (True, "group")])
def test_outcome_rule_equals_trl_advantages(trainer_parts, std, scale):
    _, build = trainer_parts
    trainer = build("grpo", scale)
    rewards = torch.tensor([1.0, 0.0, 0.0, 1.0])
    trainer._calculate_rewards = lambda *_, **__: rewards[:, None]
    out = trainer._generate_and_score_completions([{"prompt": "red"}] * 4)
    ours = step_advantages(
        CreditConfig(rule="outcome", std=std), torch.full((4, 5), float("nan")), rewards, torch.zeros(4).long(), 4
    )
    torch.testing.assert_close(out["advantages"].flatten()[:4], ours[:, 0], atol=1e-5, rtol=1e-4)
