"""The same results from several processes as from one."""

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_models import random_policy
from toy_ranks import bits, failing, led

from taosr_she.base.errors import UserError
from taosr_she.credit.config import LossConfig
from taosr_she.data.market.market import MarketConfig, generate_market
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.prompt import render_prompt
from taosr_she.domain.response import Response
from taosr_she.engine.lora import adapter_off
from taosr_she.engine.precision import computing
from taosr_she.engine.speedups import without
from taosr_she.examine.verdicts import CODE, Verdicts
from taosr_she.judge.pairs import greedy, judge_pairs
from taosr_she.model.example import answer
from taosr_she.model.label_probs import label_distribution
from taosr_she.model.lora import LoraConfig
from taosr_she.model.policy import Policy
from taosr_she.model.sampler import Rollouts, Sampling, sample_groups
from taosr_she.model.tiny import TinyConfig, build_tiny
from taosr_she.ranks.replicas import Sender
from taosr_she.ranks.work import deal, everywhere, processes, split
from taosr_she.train.rl.loop import train_step_credit
from taosr_she.train.rl.settings import StepCreditSettings
from taosr_she.train.sft.settings import SFTSettings
from taosr_she.train.sft.train import train_sft

BARE = {"prompt": {"instruction": "", "show_labels": False, "show_rules": False, "show_format": False}}
DOMAIN = load_domain("taobao").with_overrides(BARE)
PROMPTS = [[5, 9, 3, 11], [4, 2], [6, 7, 8], [12, 10, 9], [3]]


class Lengths:
    """Right when the length of the text is even: an untrained model has signal."""

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        values = np.full((len(responses), 5), np.nan, dtype=np.float32)
        values[:, 4] = [len(r.text) % 2 == 0 for r in responses]
        return Verdicts(values, np.full(values.shape, CODE["gsrm"], dtype=np.int8))


@pytest.fixture(scope="module")
def shop() -> tuple[Policy, list[Pair]]:
    sizes = {"demonstration_pairs": 30, "training_pairs": 12, "development_pairs": 0, "test_pairs": 0}
    market = generate_market(MarketConfig(**sizes), 1)
    pairs = {p.pair_id: p for p in market.pairs["demonstration"]}
    texts = [render_prompt(DOMAIN, pairs[d.pair_id]) + d.response for d in market.demonstrations]
    policy = build_tiny(texts, DOMAIN, TinyConfig(hidden=32, layers=2, heads=2, kv_heads=1, ffn=64, vocab_size=400), 1)
    return policy, market.pairs["training"]


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def several(request: pytest.FixtureRequest) -> Iterator[None]:
    """Everything that a test does inside is split over processes."""
    with led(request.param):
        yield


@pytest.fixture
def both(several: None, shop: tuple[Policy, list[Pair]]) -> Callable[[Callable[[Policy], Any]], tuple[Any, Any]]:
    """What a function of a fresh policy gives alone and with the other process."""
    from taosr_she.ranks import work

    def run(function: Callable[[Policy], Any]) -> tuple[Any, Any]:
        lead = work._lead.get()
        assert lead is not None and processes() > 1
        token = work._lead.set(None)
        alone = function(copied(shop[0]))
        work._lead.reset(token)
        return alone, function(copied(shop[0]))

    return run


def copied(policy: Policy) -> Policy:
    return Policy(copy.deepcopy(policy.model), policy.tokenizer, policy.device, DOMAIN)


def weights(policy: Policy) -> dict[str, torch.Tensor]:
    return dict(policy.model.named_parameters())


def rows(folder: Path) -> list[dict[str, Any]]:
    timing = ("seconds", "tokens_per_second")
    read = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if not k.startswith(timing)} for row in read]


def assert_near(alone: Policy, together: Policy, start: Policy, share: float) -> None:
    """Every weight is as far from the other run's as a share of how far training has moved it."""
    before = {name: w.detach() for name, w in weights(start).items()}
    for (name, a), b in zip(weights(alone).items(), weights(together).values(), strict=True):
        if name not in before:  # an adapter, whose second matrix starts at 0
            assert (a - b).norm() <= share * a.norm(), name
        elif a.requires_grad:
            moved = (a - before[name]).norm()
            assert moved > 0 and (a - b).norm() <= share * moved, name
        else:
            assert torch.equal(a, b)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("architecture", ["qwen3", "gpt2", "gemma2"])
def test_rollouts(several: None, architecture: str, temperature: float) -> None:
    """Each row has the random numbers of its own, whichever process samples it."""
    policy = random_policy(architecture)
    sampling = Sampling(max_new_tokens=9, temperature=temperature)
    together = sample_groups(policy, PROMPTS, 3, sampling, 5, 4, watched=[3, 7])
    sampled: list[list[int]] = []
    alone = sample_groups(policy, PROMPTS, 3, sampling, 5, 4, [3, 7], lambda rows, tokens: sampled.append(rows))
    assert sampled and torch.equal(alone.ids, together.ids) and torch.equal(alone.mask, together.mask)
    for name in ("logprobs", "watched"):
        torch.testing.assert_close(getattr(alone, name), getattr(together, name), atol=1e-4, rtol=1e-4)


def test_more_processes_than_prompts(several: None) -> None:
    policy, sampling = random_policy("llama"), Sampling(max_new_tokens=4)
    assert len(sample_groups(policy, PROMPTS[:1], 2, sampling, 1).ids) == 2
    assert isinstance(sample_groups(policy, [], 2, sampling, 1), Rollouts)


def test_sft(both: Any, shop: Any, tmp_path: Path) -> None:
    policy, pairs = shop
    examples = [answer(policy.encode_prompt(DOMAIN, p), policy.encode_response(f"[label] {p.label}")) for p in pairs]

    def train(start: Policy) -> tuple[Policy, list[dict[str, Any]]]:
        folder = tmp_path / str(processes())
        settings = SFTSettings(epochs=2, batch_size=4, accumulate=2, learning_rate=1e-3)
        return train_sft(start, examples, settings, 1, folder), rows(folder)

    (alone, told), (together, same) = both(train)
    assert len(told) == 3
    assert [r["loss"] for r in told] == pytest.approx([r["loss"] for r in same], rel=1e-5)
    assert_near(alone, together, policy, 1e-4)


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=4)], ids=["all", "lora"])
def test_reinforcement_learning(both: Any, shop: Any, tmp_path: Path, lora: LoraConfig | None) -> None:
    """Metrics as of one process; the copies follow every update, or the third would be sampled by another policy."""

    def train(start: Policy) -> tuple[Policy, list[dict[str, Any]]]:
        folder = tmp_path / str(processes())
        settings = StepCreditSettings(
            updates=3, pairs_per_update=4, group_size=4, sampling=Sampling(max_new_tokens=12), refill=2, lora=lora,
            learning_rate=1e-3, warmup_updates=0, loss=LossConfig(beta=0.05), epochs_per_batch=2,
            tokens_per_microbatch=300,
        )  # fmt: skip
        train_step_credit(start, DOMAIN, shop[1], Lengths(), settings, 1, folder)
        check = json.loads((folder / "start_check.json").read_text())
        assert check["moved"] > 1e-4 > check["apart_after"]
        return start, rows(folder)

    (alone, told), (together, same) = both(train)
    for a, b in zip(told, same, strict=True):
        exact = {key for key, value in a.items() if not isinstance(value, float)}
        assert [a.pop(key) for key in exact] == [b.pop(key) for key in exact]
        assert a == pytest.approx(b, rel=1e-3, abs=1e-5)
    assert told[-1]["kl"] > 0 and told[0]["signal_share"] > 0
    assert_near(alone, together, shop[0], 1e-3)


def test_judgements(both: Any, shop: Any) -> None:
    def judged(policy: Policy) -> list[Any]:
        return judge_pairs(policy, DOMAIN, shop[1], greedy(10), 8).judgements

    alone, together = both(judged)
    for a, b in zip(alone, together, strict=True):
        assert (a.pair_id, a.response, a.steps, a.tokens) == (b.pair_id, b.response, b.steps, b.tokens)
        assert a.probabilities == (b.probabilities and pytest.approx(b.probabilities, rel=1e-4))
    sampling = Sampling(max_new_tokens=8)
    alone, together = both(lambda policy: judge_pairs(policy, DOMAIN, shop[1], sampling, 4, seed=3).judgements)
    assert [j.response for j in alone] == [j.response for j in together]
    first = DOMAIN.label_alone()
    alone, together = both(lambda policy: judge_pairs(policy, first, shop[1], sampling, 4, mode="label").judgements)
    for a, b in zip(alone, together, strict=True):
        assert a.probabilities == pytest.approx(b.probabilities, rel=1e-4)
    contexts = [shop[0].encode_prompt(DOMAIN, p) for p in shop[1]]
    a, b = both(lambda policy: label_distribution(policy, DOMAIN, contexts, 4))
    np.testing.assert_allclose(a, b, rtol=1e-4)
    with without("labels_in_decoding", "shared_prompts"):
        np.testing.assert_allclose(
            both(lambda policy: label_distribution(policy, DOMAIN, contexts, 4))[1], a, rtol=1e-4
        )


def test_a_copy_is_equal_after_every_kind_of_change(several: None, shop: Any) -> None:
    policy = copied(shop[0])
    model, seen = policy.model, []

    def compared() -> None:
        mine, *others = everywhere(bits, [model])
        for theirs in others:
            assert mine[:4] == theirs[:4] and all(torch.equal(a, b) for a, b in zip(mine[4], theirs[4], strict=True))
        seen.append(mine)

    def moved_by(optimizer: torch.optim.Optimizer) -> None:
        for weight in model.parameters():
            weight.grad = torch.ones_like(weight) if weight.requires_grad else None
        optimizer.step()
        optimizer.zero_grad()

    compared()
    for fused in (False, True):
        moved_by(torch.optim.AdamW(model.parameters(), lr=0.1, fused=fused))
        compared()
        assert not torch.equal(seen[-1][4][0], seen[-2][4][0])
    model.load_state_dict(shop[0].model.state_dict())
    compared()
    from taosr_she.model.adapter import adapt, fold

    adapt(model, LoraConfig(rank=2), 1)
    compared()
    moved_by(torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=0.1))
    with adapter_off(model), computing(model, "bfloat16"):
        compared()
    model.train()
    compared()
    fold(model)
    compared()
    assert seen[-3][0] and seen[-2][1] != seen[-4][1] and len(seen[-1][4]) < len(seen[-2][4])


def test_a_model_that_is_gone_is_gone_everywhere(several: None) -> None:
    from taosr_she.ranks import work

    lead = work._lead.get()
    assert lead is not None
    policy = random_policy("llama")
    everywhere(bits, [policy.model])
    number = lead.sender.number(policy.model)
    del policy
    assert number not in lead.sender._sent
    assert lead.sender._gone == [number]
    other = random_policy("llama")
    everywhere(bits, [other.model])  # this message says so
    assert not lead.sender._gone


def test_an_error_of_any_process_is_one_error_here(several: None) -> None:
    shares = deal(range(8))
    for only in (0, 1):
        with pytest.raises(UserError, match=f"no, says process {only}"):
            split(failing, [], shares, only)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        split(failing, [], [*shares[:-1], [11]], 9)
    assert split(failing, [], shares, 9) == shares


def test_stale_weights_in_another_process_are_noticed(
    several: None, shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if a change were missed: the sampler there would never follow."""
    policy, change, sent = copied(shop[0]), Sender._change, set()

    def only_once(self: Sender, number: int, model: Any) -> Any:
        if number in sent:
            return None, []
        sent.add(number)
        return change(self, number, model)

    monkeypatch.setattr(Sender, "_change", only_once)
    settings = StepCreditSettings(updates=2, pairs_per_update=4, group_size=4, sampling=Sampling(max_new_tokens=12))
    with pytest.raises(UserError, match=r"the first update has not reached the sampler.* of process 1"):
        train_step_credit(policy, DOMAIN, shop[1], Lengths(), settings, 1, tmp_path)
