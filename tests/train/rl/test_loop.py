import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from taosr_she.base.errors import UserError
from taosr_she.credit.config import CreditConfig, LossConfig
from taosr_she.credit.loss import policy_loss
from taosr_she.data.market.market import MarketConfig, generate_market
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.prompt import render_prompt
from taosr_she.domain.response import Response
from taosr_she.engine.logprobs import response_logprobs
from taosr_she.examine.verdicts import CODE, Verdicts
from taosr_she.examine.verifier import Verifier
from taosr_she.model.policy import Policy
from taosr_she.model.sampler import Rollouts, Sampling, sample_groups
from taosr_she.model.tiny import TinyConfig, build_tiny
from taosr_she.train.rl import loop
from taosr_she.train.rl.batch import CreditedBatch, credit_rollouts
from taosr_she.train.rl.collapse import CollapseConfig
from taosr_she.train.rl.loop import label_places, microbatches, start_reference, train_step_credit, update_policy
from taosr_she.train.rl.metrics import batch_metrics
from taosr_she.train.rl.settings import StepCreditSettings
from taosr_she.train.rl.watch import Watch, WatchConfig

BARE = {"prompt": {"instruction": "", "show_labels": False, "show_rules": False, "show_format": False}}
DOMAIN = load_domain("taobao").with_overrides(BARE)


class Lengths:
    """An examiner for an untrained model, whose text has no sections and so belongs to the label step as a whole: that
    step is right when the length is even."""

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        values = np.full((len(responses), 5), np.nan, dtype=np.float32)
        values[:, 4] = [len(r.text) % 2 == 0 for r in responses]
        return Verdicts(values, np.full(values.shape, CODE["gsrm"], dtype=np.int8))


class BeginsWithLetter(Lengths):
    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        verdicts = super().examine(pairs, responses)
        verdicts.values[:, 4] = [r.text[:1].isalpha() for r in responses]
        return verdicts


class Agrees(Lengths):
    """An examiner that finds every step right, so that no group has signal."""

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        return Verdicts(np.ones((len(responses), 5), np.float32), np.ones((len(responses), 5), np.int8))


@pytest.fixture
def setting() -> tuple[Policy, Domain, list[Pair]]:
    sizes = {"demonstration_pairs": 30, "training_pairs": 12, "development_pairs": 0, "test_pairs": 0}
    market = generate_market(MarketConfig(**sizes), 1)
    pairs = {p.pair_id: p for p in market.pairs["demonstration"]}
    texts = [render_prompt(DOMAIN, pairs[d.pair_id]) + d.response for d in market.demonstrations]
    policy = build_tiny(texts, DOMAIN, TinyConfig(hidden=32, layers=2, heads=2, kv_heads=1, ffn=64, vocab_size=400), 1)
    return policy, DOMAIN, market.pairs["training"]


def small(**changes: object) -> StepCreditSettings:
    base = {"updates": 3, "pairs_per_update": 4, "group_size": 4, "sampling": Sampling(max_new_tokens=12)}
    return StepCreditSettings(**{**base, "checkpoint_every": 1, "keep_rollouts_every": 2, **changes})


def weights(policy: Policy) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in policy.model.named_parameters()}


def test_micro_batches_give_the_gradient_of_the_plain_formula(setting) -> None:
    policy, domain, pairs = setting
    settings = small(tokens_per_microbatch=150, learning_rate=1e-9, grad_clip=1e9)
    prompts = [policy.encode_prompt(domain, p) for p in pairs[:4]]
    rollouts = sample_groups(policy, prompts, 4, settings.sampling, 5)
    batch = credit_rollouts(policy, domain, pairs[:4], rollouts, Lengths(), settings.credit)
    live = torch.nonzero(batch.rows_with_signal).flatten()
    assert len(live) > 0 and len(microbatches(live, prompts, batch, 150)) > 1

    grads: dict[str, torch.Tensor] = {}

    class Spy(torch.optim.SGD):
        def step(self, closure: object = None) -> None:  # type: ignore[override]
            grads.update({n: p.grad.clone() for n, p in policy.model.named_parameters()})

    stats = update_policy(policy, None, prompts, batch, settings, Spy(policy.model.parameters(), lr=0.0))

    policy.model.zero_grad()
    row_prompts = [prompts[g] for g in rollouts.group.tolist()]
    logp, _ = response_logprobs(policy.model, row_prompts, rollouts.ids, rollouts.mask, 1.0)
    loss, _ = policy_loss(logp, None, batch.advantages, rollouts.mask, LossConfig())
    loss.backward()
    assert max(g.abs().max() for g in grads.values()) > 1e-3
    assert stats["loss"] == pytest.approx(loss.item(), abs=1e-6)
    for name, parameter in policy.model.named_parameters():
        torch.testing.assert_close(grads[name], parameter.grad, atol=2e-6, rtol=1e-4)


def test_microbatches_keep_every_row_once_within_the_budget(setting) -> None:
    policy, domain, pairs = setting
    settings = small()
    prompts = [policy.encode_prompt(domain, p) for p in pairs[:4]]
    rollouts = sample_groups(policy, prompts, 4, settings.sampling, 5)
    batch = credit_rollouts(policy, domain, pairs[:4], rollouts, Lengths(), settings.credit)
    rows = torch.tensor([0, 3, 5, 9, 10, 15])
    lengths = rollouts.mask.sum(dim=1)
    for shared in (True, False):
        parts = microbatches(rows, prompts, batch, 130, shared)
        assert sorted(b for part in parts for b in part.tolist()) == rows.tolist() and len(parts) > 1
        for part in parts:
            groups = rollouts.group[part].tolist()
            of = [len(prompts[g]) for g in (set(groups) if shared else groups)]
            size = (sum(of) if shared else len(part) * max(of)) + len(part) * int(lengths[part].max())
            assert len(part) == 1 or size <= 130
    together = [rollouts.group[part].tolist() for part in microbatches(rows, prompts, batch, 100_000)]
    assert len(together) == 1 and len([g for g, _ in groupby(together[0])]) == len(set(together[0]))


def test_training_writes_metrics_rollouts_and_a_model_that_differs(setting, tmp_path: Path) -> None:
    policy, domain, pairs = setting
    before = weights(policy)
    seen: list[int] = []
    train_step_credit(policy, domain, pairs, Lengths(), small(), 1, tmp_path, lambda row: seen.append(row["step"]))
    assert seen == [1, 2, 3]
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["tokens"] > rows[0]["tokens"] > 0 and rows[0]["reward_product"] is None
    assert {"reward_query", "signal_share", "entropy", "kl", "length", "tokens_per_second", "grad_norm"} <= set(rows[0])
    assert sorted(p.name for p in (tmp_path / "rollouts").iterdir()) == ["00000.parquet", "00002.parquet"]
    assert (tmp_path / "checkpoint" / "model.safetensors").is_file()
    assert any(not torch.equal(before[n], w) for n, w in weights(policy).items())


def test_a_batch_without_signal_is_a_row_of_metrics_and_no_update(setting, tmp_path: Path) -> None:
    policy, domain, pairs = setting
    before = weights(policy)
    train_step_credit(policy, domain, pairs, Agrees(), small(), 1, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [r["signal_share"] for r in rows] == [0.0] * 3
    assert rows[0]["no_signal"] == {"all wrong": 4}
    assert all(torch.equal(before[n], w) for n, w in weights(policy).items())


class Stop(Exception):
    pass


def test_stopped_and_resumed_training_ends_with_the_same_weights(setting, tmp_path: Path) -> None:
    policy, domain, pairs = setting
    start = {name: w.clone() for name, w in policy.model.state_dict().items()}
    settings = small(updates=4, loss=LossConfig(beta=0.05), epochs_per_batch=2)
    train_step_credit(policy, domain, pairs, Lengths(), settings, 1, tmp_path / "whole")
    whole = weights(policy)

    def stop_at_three(row: dict) -> None:
        if row["step"] == 3:
            raise Stop

    policy.model.load_state_dict(start)
    with pytest.raises(Stop):
        train_step_credit(policy, domain, pairs, Lengths(), settings, 1, tmp_path / "parts", stop_at_three)
    policy.model.load_state_dict(start)
    train_step_credit(policy, domain, pairs, Lengths(), settings, 1, tmp_path / "parts")
    assert all(torch.equal(whole[n], w) for n, w in weights(policy).items())
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4]
    assert json.loads((tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()[-1])["kl"] > 0


def test_a_watch_looks_before_the_first_update_and_every_few_and_once_each_when_resumed(
    setting, tmp_path: Path
) -> None:
    policy, domain, pairs = setting
    start = {name: w.clone() for name, w in policy.model.state_dict().items()}
    settings, how = small(updates=5, checkpoint_every=2), WatchConfig(every=2, pairs=3, max_new_tokens=12)

    def watched(folder: Path, on_update=lambda row: None) -> list[dict]:
        policy.model.load_state_dict(start)
        folder.mkdir(exist_ok=True)
        watch = Watch(how, domain, pairs, Verifier(domain, []), 8)
        train_step_credit(policy, domain, pairs, Lengths(), settings, 1, folder, on_update, watch=watch)
        rows = [json.loads(line) for line in (folder / "watch.jsonl").read_text().splitlines()]
        assert all(row.pop("seconds") >= 0 for row in rows)
        return rows

    (tmp_path / "plain").mkdir()
    plain = train_step_credit(policy, domain, pairs, Lengths(), settings, 1, tmp_path / "plain")
    unwatched = weights(policy)
    whole = watched(tmp_path / "whole")
    assert all(torch.equal(unwatched[n], w) for n, w in weights(policy).items()), "looking must not touch training"
    assert [row["step"] for row in whole] == [0, 2, 4] and whole[0]["tokens"] == 0
    assert whole[0]["tokens"] < whole[1]["tokens"] < whole[2]["tokens"] < plain["tokens"]
    assert whole[0]["step_query"] is None and whole[0]["malformed"] == 1.0  # an untrained model; nobody knows the steps

    def stop_at_four(row: dict) -> None:
        if row["step"] == 4:
            raise Stop

    with pytest.raises(Stop):
        watched(tmp_path / "parts", stop_at_four)
    assert watched(tmp_path / "parts") == whole


def test_reinforcement_raises_what_the_examiner_rewards(setting, tmp_path: Path) -> None:
    """The whole loop learns: step credit alone teaches an untrained model to begin with a letter."""
    policy, domain, pairs = setting
    settings = small(
        updates=30, pairs_per_update=12, group_size=8, learning_rate=1e-2, checkpoint_every=99,
        keep_rollouts_every=99, sampling=Sampling(max_new_tokens=6), credit=CreditConfig(rule="srpo"),
    )  # fmt: skip
    train_step_credit(policy, domain, pairs, BeginsWithLetter(), settings, 1, tmp_path)
    rewards = [json.loads(line)["reward_label"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert np.mean(rewards[-5:]) > np.mean(rewards[:5]) + 0.2


def test_an_update_refills_groups_without_signal_up_to_the_bound(setting, tmp_path: Path) -> None:
    policy, domain, pairs = setting
    settings = small(updates=1, refill=3, keep_rollouts_every=1)
    train_step_credit(policy, domain, pairs, Agrees(), settings, 1, tmp_path)  # nothing ever has signal
    (row,) = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert row["refills"] == 3 and row["signal_share"] == 0
    (tmp_path / "plain").mkdir()
    plain = train_step_credit(policy, domain, pairs, Agrees(), small(updates=1), 1, tmp_path / "plain")
    assert row["tokens"] > plain["tokens"]  # what was generated in vain is counted


def test_labels_collapsing_stop_the_run_when_asked_and_again_when_resumed(setting, monkeypatch, tmp_path: Path) -> None:
    policy, domain, pairs = setting
    one = {"labels_given": {"4": 1.0, "3": 0.0, "2": 0.0, "1": 0.0}}
    monkeypatch.setattr(loop, "batch_metrics", lambda *arguments: batch_metrics(*arguments) | one)
    start = {name: w.clone() for name, w in policy.model.state_dict().items()}
    for _ in range(2):
        policy.model.load_state_dict(start)
        with pytest.raises(UserError, match=r"update 2: stopped, labels collapse: .*settings\.balance"):
            train_step_credit(
                policy, domain, pairs, Lengths(), small(), 1, tmp_path,
                collapse=CollapseConfig(window=2, on_collapse="stop"),
            )  # fmt: skip
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2] and rows[0]["collapse"] is None and rows[0]["label_evenness"] == 0
    monkeypatch.undo()
    train_step_credit(policy, domain, pairs, Lengths(), small(), 1, tmp_path, collapse=CollapseConfig(window=1))
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["collapse"] is None, "an untrained model gives no label at all: malformed, not collapsed"
    assert sum(rows[0]["labels_true"].values()) == pytest.approx(1) and rows[0]["macro_f1"] == 0


def test_balanced_training_sees_labels_alike(setting, tmp_path: Path) -> None:
    policy, domain, pairs = setting
    labels = ["4"] * 9 + ["1"] * 3
    skewed = [replace(pair, label=label) for pair, label in zip(pairs, labels, strict=True)]
    train_step_credit(policy, domain, skewed, Lengths(), small(balance=True), 1, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert all(row["labels_true"] == {"4": 0.5, "3": 0, "2": 0, "1": 0.5} for row in rows)
    with pytest.raises(ValidationError, match="already shows every label equally often"):
        small(balance=True, credit=CreditConfig(label_weight=1.0))


def test_the_entropy_bonus_trains_groups_without_signal_at_their_label(setting) -> None:
    """Its gradient is that of the bonus on the label's token, from the plain formula."""
    policy, domain, pairs = setting
    settings = small(loss=LossConfig(label_entropy=0.5), grad_clip=1e9)
    prompts = [policy.encode_prompt(domain, p) for p in pairs[:2]]
    answer = policy.encode_response("[query] boots\n[product] boots\n[category] same\n[attributes] x: match\n[label] 3")
    ids = torch.tensor([answer] * 4)
    mask, group = torch.ones_like(ids, dtype=torch.bool), torch.tensor([0, 0, 1, 1])
    rollouts = Rollouts(ids, mask, torch.zeros(ids.shape), torch.ones(4, dtype=torch.bool), group)
    batch = credit_rollouts(policy, domain, pairs[:2], rollouts, Agrees(), CreditConfig())
    assert not batch.rows_with_signal.any() and all(r.label == "3" for r in batch.responses)
    at = label_places(policy, domain, batch)
    assert policy.tokenizer.decode([int(ids[0, at[0]])]).strip() == "3"

    grads: dict[str, torch.Tensor] = {}

    class Spy(torch.optim.SGD):
        def step(self, closure: object = None) -> None:  # type: ignore[override]
            grads.update({n: p.grad.clone() for n, p in policy.model.named_parameters()})

    update_policy(policy, None, prompts, batch, settings, Spy(policy.model.parameters(), lr=0.0), at)
    policy.model.zero_grad()
    logp, entropy = response_logprobs(policy.model, [prompts[g] for g in group.tolist()], ids, mask, 1.0, True)
    chosen = logp.gather(1, at[:, None])[:, 0]
    bonus = 0.5 * (-chosen - entropy.gather(1, at[:, None])[:, 0]).detach()
    (-(bonus * chosen).sum() / mask.sum()).backward()
    assert max(g.abs().max() for g in grads.values()) > 1e-4
    for name, parameter in policy.model.named_parameters():
        torch.testing.assert_close(grads[name], parameter.grad, atol=2e-6, rtol=1e-4)


def test_weights_of_rare_labels_reach_the_advantages(setting, monkeypatch, tmp_path: Path) -> None:
    policy, domain, pairs = setting
    skewed = [replace(p, label="4" if i else "1") for i, p in enumerate(pairs)]
    seen: list[dict] = []

    def spy(*arguments: object) -> CreditedBatch:
        seen.append(arguments[-2])
        return credit_rollouts(*arguments)

    monkeypatch.setattr(loop, "credit_rollouts", spy)
    settings = small(updates=1, credit=CreditConfig(rule="outcome", label_weight=1.0))
    train_step_credit(policy, domain, skewed, Lengths(), settings, 1, tmp_path)
    assert seen == [pytest.approx({"1": 6.0, "4": 6 / 11})]


@pytest.mark.parametrize("damage", [None, "config.json", "model.safetensors"])
def test_a_damaged_reference_is_written_anew(setting, tmp_path: Path, damage: str | None) -> None:
    policy, _, _ = setting
    start = weights(policy)
    if damage:
        start_reference(policy, tmp_path)
        (tmp_path / "reference" / damage).write_bytes(b"")
    reference = start_reference(policy, tmp_path)
    assert all(torch.equal(start[name], p) for name, p in reference.model.named_parameters())
