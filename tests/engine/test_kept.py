"""A kept prefix changes no logits, whether the rest of the prompts is shared or not."""

from collections.abc import Callable

import pytest
import torch

from taosr_she.engine.kept import keep_prefix, kept_prefix
from taosr_she.engine.shared_prefix import next_logits
from taosr_she.engine.speedups import without
from taosr_she.model.policy import Policy
from taosr_she.model.sampler import sample_groups
from taosr_she.model.sampling import Sampling

RULES = [5, 9, 3, 11, 7, 4, 8, 12, 6, 13, 21, 30]
QUERIES = [[*RULES, 14, 15, 16, 17, 18], [*RULES, 19, 20, 22, 23, 24, 25]]
PROMPTS = {
    "two queries": [[*q, i, i + 1] for q in QUERIES for i in range(5, 9)],
    "nothing else shared": [RULES + [i] * (i - 4) for i in range(5, 9)],
    "one prompt": [[*RULES, 26, 27]],
    "prompt inside another": [[*RULES, 14], [*RULES, 14, 15], [*RULES, 14, 15, 16]],
}


@pytest.mark.parametrize("architecture", ["qwen3", "llama"])
@pytest.mark.parametrize("prompts", PROMPTS.values(), ids=PROMPTS)
def test_a_kept_prefix_changes_no_logits(
    make_policy: Callable[..., Policy], architecture: str, prompts: list[list[int]]
) -> None:
    policy = make_policy(architecture)
    keep_prefix(policy.model, RULES)
    assert kept_prefix(policy.model, prompts) is not None
    with without("kept_prefixes"):
        logits = next_logits(policy.model, prompts)
        rollouts = sample_groups(policy, prompts, 1, Sampling(max_new_tokens=6, temperature=0.0), 0, watched=[3])
    for left_out in ((), ("lean_pass",)):
        with without(*left_out):
            torch.testing.assert_close(next_logits(policy.model, prompts), logits, atol=1e-4, rtol=1e-4)
    again = sample_groups(policy, prompts, 1, Sampling(max_new_tokens=6, temperature=0.0), 0, watched=[3])
    assert torch.equal(again.ids, rollouts.ids)
    torch.testing.assert_close(again.watched, rollouts.watched, atol=1e-4, rtol=1e-4)


def test_other_prompts_do_not_use_it(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy("qwen3")
    keep_prefix(policy.model, RULES)
    for other in ([RULES], [[*RULES, 1], [*RULES[:-1], 1, 2]], [[1, *RULES]]):
        assert kept_prefix(policy.model, other) is None
    assert kept_prefix(make_policy("qwen3").model, [[*RULES, 1]]) is None
