"""What sequences share, against trying every way to group them; and that sharing changes no result."""

from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from taosr_she.engine.logprobs import logits_at
from taosr_she.engine.prefix_tree import plan, shared_prefixes
from taosr_she.engine.shared_prefix import next_logits, unshareable
from taosr_she.engine.speedups import without
from taosr_she.model.policy import Policy
from taosr_she.model.sampler import Sampling, sample_groups

RULES, ASKS = [7, 3, 9, 12, 5, 30, 8, 2, 6, 11], [[21], [22]]
PROMPTS = [RULES + ASKS[i % 2] + [23 + i, 4, *range(2, 2 + i % 3), 5] for i in range(9)]


def partitions(items: list[int]) -> Iterator[list[list[int]]]:
    if not items:
        yield []
        return
    for rest in partitions(items[1:]):
        yield [[items[0]], *rest]
        for i in range(len(rest)):
            yield [*rest[:i], [items[0], *rest[i]], *rest[i + 1 :]]


def tokens(sequences: list[list[int]], classes: list[list[int]]) -> int:
    """Tokens to run when each class runs its common beginning once, one token at least left to each sequence."""
    total = 0
    for members in classes:
        rows = [sequences[i] for i in members]
        shared = 0
        while all(len(r) > shared + 1 and r[shared] == rows[0][shared] for r in rows):
            shared += 1
        total += shared + sum(len(r) - shared for r in rows)
    return total


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.lists(st.integers(0, 1), min_size=4, max_size=4), min_size=1, max_size=6))
def test_no_grouping_runs_fewer_tokens(sequences: list[list[int]]) -> None:
    best = min(tokens(sequences, p) for p in partitions(list(range(len(sequences)))))
    found = plan(sequences)
    assert found.tokens == best
    alone = [[i] for i in found.alone]
    assert tokens(sequences, [list(members) for _, members in found.classes] + alone) == best
    assert sorted([*found.alone, *(i for _, members in found.classes for i in members)]) == list(range(len(sequences)))
    for shared, members in found.classes:
        assert len({tuple(sequences[i][:shared]) for i in members}) == 1


def test_what_is_shared() -> None:
    shared = shared_prefixes(PROMPTS)
    assert shared == ([10] * 9, [0] * 9)  # the rules; a class for each query would run them twice
    long = [[*ask, *RULES, *RULES, i] for ask in ASKS for i in range(4)]
    assert shared_prefixes(long) == ([21] * 8, [0] * 4 + [1] * 4)
    assert shared_prefixes([[i, 5, 6, 7] for i in range(4)]) is None  # nothing in common
    assert shared_prefixes([[5], [5, 6]]) is None  # a sequence without a token of its own


@pytest.mark.parametrize("architecture", ["qwen3", "llama", "gpt2"])
def test_greedy_and_sampled_responses_are_the_same(architecture: str, make_policy: Callable[..., Policy]) -> None:
    policy = make_policy(architecture)
    policy.model.generation_config.eos_token_id = list(range(0, 40, 4))  # rows finish at all lengths
    unshareable(policy.model)
    ran: list[int] = []
    policy.model.get_input_embeddings().register_forward_pre_hook(lambda _, args: ran.append(args[0].numel()))
    for temperature in (0.0, 1.0):
        sampling = Sampling(max_new_tokens=12, temperature=temperature)
        ours = sample_groups(policy, PROMPTS, 1, sampling, seed=2)
        tokens_run = sum(ran)
        ran.clear()
        with without("shared_prompts"):
            plain = sample_groups(policy, PROMPTS, 1, sampling, seed=2)
        assert torch.equal(ours.ids, plain.ids) and torch.equal(ours.mask, plain.mask)
        torch.testing.assert_close(ours.logprobs, plain.logprobs, atol=1e-4, rtol=0)
        assert tokens_run < sum(ran) - 7 * len(RULES)
        ran.clear()


def test_next_logits(any_policy: Policy) -> None:
    ends = torch.tensor([len(p) - 1 for p in PROMPTS])
    with torch.no_grad():
        plain = logits_at(any_policy.model, PROMPTS, torch.arange(len(PROMPTS)), ends)
    torch.testing.assert_close(next_logits(any_policy.model, PROMPTS), plain, atol=1e-4, rtol=1e-4)
