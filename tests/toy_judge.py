"""A small model that has learnt by heart to judge boots by their colour: folder, domain, and pairs it knows."""

from pathlib import Path

import pytest
import torch

from taosr_she import Judge, load_judge
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.prompt import render_prompt
from taosr_she.domain.response import render_response
from taosr_she.model.policy import Policy, save_policy
from taosr_she.model.tiny import TinyConfig, build_tiny

COLORS = ("red", "blue", "green", "grey")
TINY = TinyConfig(hidden=48, layers=2, heads=2, kv_heads=1, ffn=96, vocab_size=500, max_positions=256)


@pytest.fixture(scope="session")
def domain() -> Domain:
    """The esci grades under a prompt that is the pair alone."""
    bare = {"instruction": "", "show_labels": False, "show_rules": False, "show_format": False}
    return load_domain("esci").with_overrides({"prompt": bare})


@pytest.fixture(scope="session")
def label_first(domain: Domain) -> Domain:
    """The same steps with the label before the others."""
    steps = domain.model_dump()["steps"]
    return domain.with_overrides({"name": "label-first", "answer_first": True, "steps": [steps[-1], *steps[:-1]]})


@pytest.fixture(scope="session")
def pairs() -> list[Pair]:
    return [Pair(f"{a}-{b}", a, f"{a} boots", Product(f"{b} boots")) for a in COLORS for b in COLORS[:2]]


def right(domain: Domain, pair: Pair) -> str:
    """The response that the model learns: exact where the colours are the same."""
    text = {key: pair.product.title for key in domain.step_keys}
    text |= {"category": "same", "label": "E" if pair.query == pair.product.title else "S"}
    return render_response(domain, text)


@pytest.fixture(scope="session")
def folder(domain: Domain, pairs: list[Pair], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(domain, pairs, tmp_path_factory)


@pytest.fixture(scope="session")
def first_folder(label_first: Domain, pairs: list[Pair], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(label_first, pairs, tmp_path_factory)


def trained(domain: Domain, pairs: list[Pair], tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = [f"{render_prompt(domain, pair)}{right(domain, pair)}" for pair in pairs]
    policy = build_tiny(texts, domain, TINY, seed=1)
    learn(policy, domain, pairs)
    saved = tmp_path_factory.mktemp("models") / "boots"
    save_policy(policy, saved)
    return saved


def learn(policy: Policy, domain: Domain, pairs: list[Pair], updates: int = 150) -> None:
    prompts = [policy.encode_prompt(domain, pair) for pair in pairs]
    texts = [prompt + policy.encode_response(right(domain, pair)) for prompt, pair in zip(prompts, pairs, strict=True)]
    width = max(map(len, texts))
    ids = torch.tensor([text + [policy.pad_id] * (width - len(text)) for text in texts])
    labels = torch.full_like(ids, -100)
    for row, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
        labels[row, len(prompt) : len(text)] = ids[row, len(prompt) : len(text)]
    optimiser = torch.optim.AdamW(policy.model.parameters(), lr=5e-3)
    for _ in range(updates):
        loss = policy.model(input_ids=ids, attention_mask=(labels != -100) | (ids != policy.pad_id), labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.05, f"the model of the tests did not learn: {loss.item():.3f}"
    policy.model.eval()


@pytest.fixture(scope="session")
def judge(folder: Path) -> Judge:
    return load_judge(folder, device="cpu")
