"""The soft cross-entropy of a student against loops written from its formula, and its training, killed and resumed."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.prompt import render_prompt
from taosr_she.judge.pairs import greedy, judge_pairs
from taosr_she.model.policy import Policy
from taosr_she.model.tiny import TinyConfig, build_tiny
from taosr_she.train.distil.loss import SoftExample, SoftExamples, soft_backward, softened
from taosr_she.train.distil.settings import DistilSettings
from taosr_she.train.sft import loop
from taosr_she.train.sft.train import train_sft

BARE = {"instruction": "", "show_labels": False, "show_rules": False, "show_format": False}
DOMAIN = load_domain("taobao").with_overrides({"prompt": BARE}).label_alone()
COLORS = ("red", "blue", "green", "grey")
PAIRS = [Pair(f"{a}{b}", a, f"{a} boots", Product(f"{b} boots")) for a in COLORS for b in COLORS]
SMALL = TinyConfig(hidden=32, layers=2, heads=2, kv_heads=1, ffn=48, vocab_size=400, max_positions=256)
FIRSTS = [4, 7, 11]


def teacher(pair: Pair) -> dict[str, float]:
    """A teacher that is never quite sure."""
    likely = "4" if pair.product.title == "red boots" else "2"
    return {code: 0.7 if code == likely else 0.1 for code in DOMAIN.codes}


def student(domain: Domain = DOMAIN) -> Policy:
    return build_tiny([f"{render_prompt(domain, p)}[label] {c}" for p in PAIRS for c in "4321"], domain, SMALL, seed=1)


def rows() -> list[SoftExample]:
    """Prompts of unequal lengths, some of which begin alike; a code of one token, of two, at three places."""
    return [
        SoftExample([5, 9, 3, 11, 20, 4, 0], (0.7, 0.2, 0.1), 4, 5),
        SoftExample([5, 9, 3, 20, 7, 21, 0], (0.0, 0.5, 0.5), 3, 4),
        SoftExample([5, 9, 3, 11, 7, 6, 20, 22, 11, 0], (1.0, 0.0, 0.0), 6, 8),
    ]


def by_hand(model: Any, examples: list[SoftExample], firsts: list[int], temperature: float) -> torch.Tensor:
    """Example by example, token by token, from the formula in `soft_backward`."""
    total = torch.zeros(())
    for e in examples:
        logits = model(input_ids=torch.tensor([e.ids])).logits[0].double()
        scaled = logits[e.place - 1] / temperature
        below = torch.log(sum(torch.exp(x) for x in scaled))
        for target, token in zip(e.labels, firsts, strict=True):
            total = total - temperature**2 * target * (scaled[token] - below)
        others = [i for i in range(e.begin, len(e.ids)) if i != e.place]
        for i in others:
            total = total - torch.log_softmax(logits[i - 1], dim=0)[e.ids[i]] / len(others)
    return total / len(examples)


@pytest.mark.parametrize("size", [3, 2, 1])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("architecture", ["qwen3", "llama", "gpt2"])
def test_loss_and_gradient_are_those_of_the_formula(
    architecture: str, temperature: float, size: int, make_policy: Callable[..., Policy]
) -> None:
    """Whether in one batch or in several."""
    model, examples = make_policy(architecture).model, rows()
    batches = [examples[i : i + size] for i in range(0, len(examples), size)]
    found = soft_backward(model, batches, "float32", sum(map(len, batches)), FIRSTS, temperature)
    ours = [p.grad for p in model.parameters()]
    model.zero_grad(set_to_none=True)
    expected = by_hand(model, examples, FIRSTS, temperature)
    expected.backward()
    assert found == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(ours, [p.grad for p in model.parameters()], atol=1e-5, rtol=1e-3)


@given(st.lists(st.floats(0.001, 1), min_size=4, max_size=4), st.floats(0.2, 5))
def test_softening_is_the_softmax_at_a_temperature(weights: list[float], temperature: float) -> None:
    p = [w / sum(weights) for w in weights]
    expected = torch.softmax(torch.tensor(p, dtype=torch.float64).log() / temperature, dim=0).tolist()
    assert softened(p, temperature) == pytest.approx(expected, rel=1e-9)
    assert softened(p, 1.0) == pytest.approx(p)


def test_an_example_holds_the_teacher_the_person_and_the_form() -> None:
    policy, pair = student(), PAIRS[1]
    prompt = policy.encode_prompt(DOMAIN, pair)
    plain = SoftExamples(policy, DOMAIN, 1.0, 0.0).example(prompt, teacher(pair), "4")
    assert plain.labels == pytest.approx((0.1, 0.1, 0.7, 0.1))
    assert plain.ids == prompt + policy.encode_response("[label] 2") and plain.begin == len(prompt)
    assert policy.tokenizer.decode([plain.ids[plain.place]]).strip() == "2"
    mixed = SoftExamples(policy, DOMAIN, 1.0, 0.6).example(prompt, teacher(pair), "4")
    assert mixed.labels == pytest.approx((0.4 * 0.1 + 0.6, 0.04, 0.28, 0.04))
    assert policy.tokenizer.decode([mixed.ids[mixed.place]]).strip() == "4"
    unlabelled = SoftExamples(policy, DOMAIN, 1.0, 0.6).example(prompt, teacher(pair), None)
    assert unlabelled == plain


def test_codes_that_begin_alike_are_refused() -> None:
    grades = [{"code": code, "name": f"grade {code}"} for code in ("11", "10", "2")]
    domain = DOMAIN.with_overrides({"labels": grades, "rules": []})
    policy = student(domain)
    policy.encode_response = lambda text: [*map(ord, text), 0]  # type: ignore[method-assign]
    with pytest.raises(UserError, match="begins several label codes with the same token"):
        SoftExamples(policy, domain, 1.0, 0.0)


def trained(folder: Path, settings: DistilSettings) -> Policy:
    policy = student()
    soft = SoftExamples(policy, DOMAIN, settings.temperature, settings.human)
    examples = [soft.example(policy.encode_prompt(DOMAIN, p), teacher(p), p.label) for p in PAIRS]
    return train_sft(policy, examples, settings, 1, folder, loss_of=soft.loss())


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_student_learns_the_distribution_and_to_write_the_label(temperature: float, tmp_path: Path) -> None:
    settings = DistilSettings(epochs=60, batch_size=8, learning_rate=1e-2, temperature=temperature)
    policy = trained(tmp_path, settings)
    quick = judge_pairs(policy, DOMAIN, PAIRS, greedy(8), 16, mode="label").judgements
    written = judge_pairs(policy, DOMAIN, PAIRS, greedy(8), 16).judgements
    for pair, found, said in zip(PAIRS, quick, written, strict=True):
        wanted = teacher(pair)
        assert found.probabilities == pytest.approx(wanted, abs=0.06)
        assert found.label == max(wanted, key=wanted.__getitem__) == said.label and said.reason is None
    losses = [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    entropy = -sum(p * math.log(p) for p in softened([0.7, 0.1, 0.1, 0.1], temperature)) * temperature**2
    assert losses[-1] == pytest.approx(entropy, abs=0.05 * temperature**2), "no loss is below the teacher's entropy"


def test_killed_and_resumed_it_ends_with_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = DistilSettings(epochs=3, batch_size=4, learning_rate=1e-2, save_every=2, temperature=2.0, human=0.3)
    whole = trained(tmp_path / "whole", settings).model.state_dict()
    step, left = loop.one_step, iter(range(7))

    def dying(*arguments: Any) -> float:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(loop, "one_step", dying)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut", settings)
    monkeypatch.setattr(loop, "one_step", step)
    resumed = trained(tmp_path / "cut", settings).model.state_dict()
    assert all(torch.equal(weight, resumed[name]) for name, weight in whole.items())
    rows = [
        [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in (folder / "metrics.jsonl").open()]
        for folder in (tmp_path / "whole", tmp_path / "cut")
    ]
    assert rows[0] == rows[1] and len(rows[0]) == 12
    again = DistilSettings(**settings.model_dump() | {"temperature": 1.0})
    other = trained(tmp_path / "cut", again).model.state_dict()
    assert not all(torch.equal(weight, other[name]) for name, weight in whole.items()), "another loss starts anew"
