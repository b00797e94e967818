"""Greedy answers to hundreds of random layouts of rows: those of each row alone, whatever way the prompts are kept.

A layout is any queries x products in any order, each with any number of rollouts, that end at any moment. The answers
to compare with come from plain forward passes without a cache over one row at a time.
"""

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
import torch

from taosr_she.engine.prefix_tree import shared_prefixes
from taosr_she.engine.shared_prefix import next_logits
from taosr_she.engine.speedups import without
from taosr_she.model.policy import Policy
from taosr_she.model.sampler import Sampling, sample_groups

VOCAB, STEPS, LAYOUTS = 40, 7, 520
CLEAR = 1e-2
"""A row is in the tests when its likeliest token is ahead by so much at every step: rounding must not turn it."""


class Row(NamedTuple):
    prompt: tuple[int, ...]
    answer: tuple[int, ...]  # STEPS tokens, as if nothing ended it
    logits: torch.Tensor  # (V,) after the prompt


@pytest.fixture(scope="module")
def policy(make_policy: Callable[..., Policy]) -> Policy:
    return make_policy("qwen3", VOCAB)


@pytest.fixture(scope="module")
def rows(policy: Policy) -> list[list[list[Row]]]:
    """[rule book][query][product]: prompts that begin alike, of many lengths, some the beginning of others."""
    rng = random.Random(5)
    books = [[], [7, 3, 9, 12, 5, 30, 8, 2]]
    queries = [[21], [21, 22], [21, 22, 23, 4], [6, 11, 6], [33, 17, 2, 5, 9, 38], [14] * 5, [8, 26]]
    products = [[rng.randrange(2, VOCAB) for _ in range(n)] for n in (1, 1, 2, 3, 4, 6, 6, 9)]
    products.append(products[3] + [15])
    return [[[row for p in products if (row := _alone(policy, b + q + p))] for q in queries] for b in books]


@torch.inference_mode()
def _alone(policy: Policy, prompt: list[int]) -> Row | None:
    ids, logits = list(prompt), []
    for _ in range(STEPS):
        logits.append(policy.model(torch.tensor([ids], device=policy.device)).logits[0, -1])
        first, second = logits[-1].topk(2).values
        if first - second < CLEAR:
            return None
        ids.append(int(logits[-1].argmax()))
    return Row(tuple(prompt), tuple(ids[len(prompt) :]), logits[0])


def layouts(rows: list[list[list[Row]]], count: int, seed: int) -> Iterator[tuple[list[Row], set[int], int, int]]:
    """(rows, end tokens, rollouts of each row, most rows at a time)."""
    rng = random.Random(seed)
    for _ in range(count):
        queries = rng.sample(rows[rng.random() < 0.4], rng.randint(1, 5))
        products = rng.choice([1, 2, 2, 3, 4, 6])
        chosen = [row for q in queries for row in rng.sample(q, min(len(q), products))]
        chosen += rng.choices(chosen, k=rng.choice([0, 0, 0, 2]))  # a pair may come twice
        chosen = rng.choice([chosen, chosen[::-1], rng.sample(chosen, len(chosen))])
        ends = set(rng.sample(range(VOCAB), rng.choice([0, 2, 6, 12])))
        yield chosen, ends, rng.choice([1, 1, 1, 2, 3]), rng.choice([512, 512, 5])


LEFT_OUT = {
    "shared, lean pass": ("copied_prompts",),
    "shared, whole model": ("copied_prompts", "lean_pass"),
    "shared, fixed shapes": ("copied_prompts",),
    "small prompts copied": (),
    "copied by the cache": ("shared_prompts",),
}
"""Ways to keep prompts and run the model, by the speed-ups that they leave out."""


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("shared, lean pass", LAYOUTS),
        ("shared, whole model", LAYOUTS // 4),
        ("shared, fixed shapes", LAYOUTS // 4),
        ("small prompts copied", LAYOUTS // 4),
        ("copied by the cache", LAYOUTS // 4),
    ],
)
def test_answers_are_those_of_each_row_alone(
    name: str, count: int, policy: Policy, rows: list[list[list[Row]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    greedy = Sampling(max_new_tokens=STEPS, temperature=0)
    beginnings = early = 0
    # On a GPU alone shapes are fixed by themselves.
    monkeypatch.setattr("taosr_she.model.sampler.recordable", lambda *_: name == "shared, fixed shapes")
    with without(*LEFT_OUT[name]):
        for chosen, ends, group, at_a_time in layouts(rows, count, seed=count):
            policy.model.generation_config.eos_token_id = list(ends)
            prompts = [list(row.prompt) for row in chosen]
            rollouts = sample_groups(policy, prompts, group, greedy, 0, at_a_time)
            found = [ids[mask].tolist() for ids, mask in zip(rollouts.ids, rollouts.mask, strict=True)]
            assert found == [_ended(row.answer, {*ends, *policy.end_ids}) for row in chosen for _ in range(group)]
            beginnings += group == 1 and shared_prefixes(prompts) is not None
            early += len({len(answer) for answer in found}) > 1
    assert beginnings > count // 4 and early > count // 3  # the test is about something


def test_logits_after_prompts_are_those_of_each_row_alone(policy: Policy, rows: list[list[list[Row]]]) -> None:
    for chosen, *_ in layouts(rows, 100, seed=1):
        found = next_logits(policy.model, [list(row.prompt) for row in chosen])
        torch.testing.assert_close(found, torch.stack([row.logits for row in chosen]), atol=1e-4, rtol=1e-4)


def _ended(answer: tuple[int, ...], ends: set[int]) -> list[int]:
    """Up to and including the first end token."""
    return list(answer[: next((i + 1 for i, token in enumerate(answer) if token in ends), len(answer))])
