"""Verdicts in the rewards of tokens: what is written is read back, and what others wrote is refused."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.base.errors import UserError
from taosr_she.engines.verl.codes import LEVELS, MOST_STEPS, pack, unpack

VERDICTS = st.one_of(st.sampled_from([0.0, 0.5, 1.0, math.nan]), st.floats(0, 1, width=32))


@st.composite
def responses(draw):
    steps = draw(st.integers(1, MOST_STEPS))
    lengths = draw(st.lists(st.integers(1, 30), min_size=1, max_size=5))
    of_tokens = [draw(st.lists(st.integers(0, steps - 1), min_size=n, max_size=n)) for n in lengths]
    verdicts = [draw(st.lists(VERDICTS, min_size=steps, max_size=steps)) for _ in lengths]
    return of_tokens, verdicts, [draw(st.sampled_from([0.0, 1.0, 0.25])) for _ in lengths]


def padded(rows):
    width = max(map(len, rows)) + 2
    rewards, mask = torch.zeros(len(rows), width), torch.zeros(len(rows), width, dtype=torch.long)
    for b, row in enumerate(rows):
        rewards[b, : len(row)], mask[b, : len(row)] = row, 1
    return rewards, mask


@given(responses())
def test_what_is_packed_is_unpacked(response):
    of_tokens, verdicts, outcomes = response
    steps = len(verdicts[0])
    rewards, mask = padded([pack(t, torch.tensor(v), r) for t, v, r in zip(of_tokens, verdicts, outcomes, strict=True)])
    assert rewards.dtype == torch.float32
    found_steps, found, earned = unpack(rewards, mask, steps)
    for b, tokens in enumerate(of_tokens):
        assert found_steps[b].tolist() == tokens + [-1] * (rewards.shape[1] - len(tokens))
        for before, after in zip([*verdicts[b], outcomes[b]], [*found[b].tolist(), float(earned[b])], strict=True):
            assert math.isnan(before) == math.isnan(after)
            assert math.isnan(before) or (before >= 0.5) == (after >= 0.5)
            if len(tokens) > steps and not math.isnan(before):
                assert 0 <= before - after < 1 / LEVELS


def test_padding_of_verl_has_no_verdict():
    rewards, mask = padded([pack([0, 0, 1], torch.tensor([1.0, math.nan]), 1.0), torch.zeros(0)])
    steps, verdicts, outcomes = unpack(rewards, mask, 2)
    assert bool(verdicts[1].isnan().all()) and outcomes.tolist() == [1.0, 0.0] and bool((steps[1] == -1).all())


@pytest.mark.parametrize(
    "change",
    [
        lambda rewards, mask: rewards.zero_(),  # another agent loop
        lambda rewards, mask: rewards[0, :3].sub_(1e-3),  # a KL penalty
        lambda rewards, mask: rewards[0, 0].add_(6),  # a step that the domain does not have
        lambda rewards, mask: mask[0, 1].zero_(),  # tokens that were not generated in between
    ],
)
def test_rewards_of_others_are_refused(change):
    rewards, mask = padded([pack([0, 0, 1, 1], torch.tensor([1.0, 0.3]), 1.0)])
    change(rewards, mask)
    with pytest.raises(UserError, match="not those of the agent loop `srpo`"):
        unpack(rewards, mask, 2)


def test_a_domain_with_too_many_steps_is_refused():
    with pytest.raises(UserError, match=r"the domain has 11 steps; .* there is room for 10"):
        pack([0] * 20, torch.zeros(11), 1.0)
