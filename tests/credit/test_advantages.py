import importlib.util
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from taosr_she.credit.advantages import no_signal_reasons, signal, step_advantages, token_advantages
from taosr_she.credit.config import CreditConfig
from taosr_she.credit.rules import RULES

spec = importlib.util.spec_from_file_location("credit_reference", Path(__file__).with_name("reference.py"))
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)

NAN = math.nan
LABEL = 2


@st.composite
def batches(draw):
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    ids = draw(st.lists(st.integers(-9, 99), min_size=len(sizes), max_size=len(sizes), unique=True))
    groups = [i for i, size in zip(ids, sizes, strict=True) for _ in range(size)]
    order = draw(st.permutations(groups))
    verdict = st.one_of(st.sampled_from([0.0, 1.0, NAN]), st.floats(0, 1, width=32))
    verdicts = [[draw(verdict) for _ in range(4)] for _ in order]
    outcomes = [float(draw(st.booleans())) for _ in order]
    return verdicts, outcomes, list(order)


configs = st.builds(
    CreditConfig,
    rule=st.just("srpo"),
    outcome_weight=st.sampled_from([1.0, 2.0]),
    step_weight=st.sampled_from([0.0, 0.5, 1.0]),
    std=st.booleans(),
    clamp=st.sampled_from([0.3, 2.0]),
    step_baseline=st.sampled_from(["group", "reached"]),
    after_error=st.sampled_from(["all", "outcome", "negative_outcome"]),
    outcome_on=st.sampled_from(["all", "label"]),
    flawed_outcome=st.sampled_from([0.0, 0.5, 1.0]),
)


def run(config, verdicts, outcomes, groups):
    return step_advantages(
        config, torch.tensor(verdicts, dtype=torch.float64), torch.tensor(outcomes), torch.tensor(groups), LABEL
    )


@given(batches(), configs)
def test_srpo_equals_the_loop_reference(batch, config):
    expected = torch.tensor(reference.srpo(*batch, LABEL, config), dtype=torch.float64)
    torch.testing.assert_close(run(config, *batch), expected, atol=2e-6, rtol=1e-5)


@given(batches(), st.booleans())
def test_outcome_equals_the_loop_reference(batch, std):
    expected = torch.tensor(reference.outcome(*batch, std), dtype=torch.float64)
    torch.testing.assert_close(run(CreditConfig(rule="outcome", std=std), *batch), expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("rule", ["process", "pivot", "mask", "token_penalty", "min_form"])
@given(batch=batches(), config=configs)
def test_the_other_rules_equal_their_loop_references(rule, batch, config):
    config = config.model_copy(update={"rule": rule})
    expected = torch.tensor(getattr(reference, rule)(*batch, LABEL, config), dtype=torch.float64)
    torch.testing.assert_close(run(config, *batch), expected, atol=4e-6, rtol=1e-5)


def test_a_step_that_every_rollout_has_wrong_is_penalised_by_token_penalty_alone():
    verdicts, groups = torch.ones(4, 5), torch.zeros(4, dtype=torch.long)
    verdicts[:, 1] = 0.0
    penalised = step_advantages(CreditConfig(rule="token_penalty"), verdicts, torch.ones(4), groups, LABEL)
    torch.testing.assert_close(penalised, torch.tensor([[0.2, -0.8, 0.2, 0.2, 0.2]]).expand(4, 5))
    assert not step_advantages(CreditConfig(rule="srpo"), verdicts, torch.ones(4), groups, LABEL).any()


@given(batches(), st.booleans())
def test_scalar_equals_the_loop_reference(batch, std):
    verdicts, _, groups = batch
    expected = torch.tensor(reference.scalar(verdicts, groups, std), dtype=torch.float64)
    torch.testing.assert_close(run(CreditConfig(rule="scalar", std=std), *batch), expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("std", [False, True])
@given(st.floats(0, 1, width=32), st.integers(2, 16))
def test_equal_scores_are_no_signal(std, score, size):
    """In float32: the mean over the steps must not tell equal scores apart."""
    verdicts, groups = torch.full((size, 5), score), torch.zeros(size, dtype=torch.long)
    assert not step_advantages(CreditConfig(rule="scalar", std=std), verdicts, torch.ones(size), groups, LABEL).any()


def test_a_rollout_without_a_score_is_compared_with_nobody():
    verdicts = [[0.9] * 4, [0.5] * 4, [NAN] * 4, [NAN, 0.7, NAN, 0.7]]
    advantages = run(CreditConfig(rule="scalar"), verdicts, [0.0, 1.0, 1.0, 0.0], [0] * 4)
    expected = torch.tensor([[0.2], [-0.2], [0.0], [0.0]]).double().expand(4, 4)
    torch.testing.assert_close(advantages, expected, atol=1e-6, rtol=0)


@given(batches(), configs, st.randoms())
def test_order_of_rollouts_and_other_groups_do_not_matter(batch, config, rng):
    verdicts, outcomes, groups = batch
    order = list(range(len(groups)))
    rng.shuffle(order)
    whole = run(config, *batch)
    shuffled = run(config, [verdicts[i] for i in order], [outcomes[i] for i in order], [groups[i] for i in order])
    torch.testing.assert_close(shuffled, whole[order])
    mine = [i for i, g in enumerate(groups) if g == groups[0]]
    alone = run(config, [verdicts[i] for i in mine], [outcomes[i] for i in mine], [groups[i] for i in mine])
    torch.testing.assert_close(alone, whole[mine])


@given(batches(), configs)
def test_nothing_is_nan_and_nothing_exceeds_the_clamp(batch, config):
    advantages = run(config, *batch)
    assert not advantages.isnan().any()
    assert advantages.abs().max() <= config.clamp


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "token_penalty"])  # which compares steps too
def test_a_group_of_one_and_a_group_that_agrees_have_no_signal(rule):
    config = CreditConfig(rule=rule)
    assert not run(config, [[0.0, 1.0, NAN, 0.5]], [1.0], [3]).any()
    assert not run(config, [[0.2, 1.0, NAN, 0.5]] * 4, [1.0] * 4, [3] * 4).any()


@given(st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4), st.floats(0, 1), st.integers(2, 16), configs)
def test_rounding_never_makes_a_signal_where_rollouts_agree(verdicts, flawed, size, config):
    """In float32, as verdicts come: dust over a standard deviation near 0 must not become an advantage."""
    config = config.model_copy(update={"flawed_outcome": flawed})
    groups = torch.zeros(size, dtype=torch.long)
    assert not step_advantages(config, torch.tensor([verdicts] * size), torch.ones(size), groups, LABEL).any()


@pytest.mark.parametrize(
    ("after_error", "tail"), [("all", [0.0, 1.0]), ("outcome", [0.5, 0.5]), ("negative_outcome", [0.0, 0.0])]
)
def test_after_the_first_error(after_error, tail):
    """By hand: z(R) is 0.5 and -0.5; S of rollout 0 is -0.5, -0.5, 0.5, that of rollout 1 the opposite."""
    verdicts = [[0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]
    advantages = run(CreditConfig(after_error=after_error), verdicts, [1.0, 0.0], [0, 0])
    assert advantages.tolist() == [[0.0, *tail], [0.0, 0.0, -1.0]]


def test_an_unknown_step_is_no_error_and_does_not_stop_reaching():
    """By hand: rollout 0 reaches step 1 over an unknown step 0; rollout 2 erred before it and is not compared."""
    verdicts = [[NAN, 1.0], [1.0, 0.0], [0.0, 0.0]]
    config = CreditConfig(step_baseline="reached", outcome_weight=1.0, flawed_outcome=0.0)
    advantages = step_advantages(config, torch.tensor(verdicts), torch.zeros(3), torch.zeros(3).long(), 1)
    torch.testing.assert_close(advantages, torch.tensor([[0.0, 0.5], [0.5, -0.5], [-0.5, 0.0]]))


@given(batches(), st.integers(0, 3), st.randoms())
def test_a_step_earns_by_itself_not_by_the_share_of_right_steps(batch, k, rng):
    verdicts, outcomes, groups = batch
    others = [[v if j == k else rng.choice([0.0, 1.0, NAN]) for j, v in enumerate(row)] for row in verdicts]
    torch.testing.assert_close(
        run(CreditConfig(), others, outcomes, groups)[:, k], run(CreditConfig(), *batch)[:, k], atol=0, rtol=0
    )


@given(batches(), configs)
def test_more_steps_do_not_earn_more(batch, config):
    """Two more steps that are right in every rollout change no advantage, and carry no step term of their own."""
    verdicts, outcomes, groups = batch
    longer = run(config, [[*row, 1.0, 1.0] for row in verdicts], outcomes, groups)
    torch.testing.assert_close(longer[:, :4], run(config, *batch), atol=0, rtol=0)
    without_steps = run(config.model_copy(update={"step_weight": 0.0}), *batch)
    if config.outcome_on == "all" and config.after_error != "negative_outcome":
        torch.testing.assert_close(longer[:, 4], without_steps[:, LABEL])


def test_advantages_are_clamped():
    verdicts, outcomes = [[1.0] * 4] + [[0.0] * 4] * 15, [1.0] + [0.0] * 15
    advantages = run(CreditConfig(std=True), verdicts, outcomes, [0] * 16)  # z is 15/16 over 1/4 for the first rollout
    assert advantages[0].tolist() == [2.0] * 4
    assert run(CreditConfig(rule="outcome", std=True), verdicts, outcomes, [0] * 16)[0, 0] > 3  # GRPO does not clamp


def test_unknown_verdicts_fall_back_to_the_outcome_alone():
    outcomes, groups = [1.0, 0.0, 0.0], [0, 0, 0]
    unknown = [[NAN] * 4] * 3
    expected = run(CreditConfig(rule="outcome"), unknown, outcomes, groups)
    torch.testing.assert_close(run(CreditConfig(rule="srpo"), unknown, outcomes, groups), expected)


def test_a_step_on_which_all_agree_earns_nothing_however_sure_the_judge_is():
    verdicts = [[0.9, 1.0, 1.0, 1.0], [0.6, 1.0, 1.0, 1.0]]
    assert not run(CreditConfig(), verdicts, [1.0, 1.0], [0, 0]).any()


def test_more_right_steps_cannot_outweigh_a_wrong_label():
    """Guard rail: with equal weights a wrong label's step terms stay below the right label's on the label step."""
    verdicts = [[1.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]]
    advantages = run(CreditConfig(), verdicts, [0.0, 1.0], [0, 0])
    assert advantages[0, LABEL] < 0 < advantages[1, LABEL]


def test_right_label_with_a_wrong_step_earns_the_stated_share():
    verdicts = [[0.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]]
    config = CreditConfig(flawed_outcome=0.0, step_weight=0.0)
    torch.testing.assert_close(run(config, verdicts, [1.0, 1.0], [0, 0])[:, LABEL], torch.tensor([-0.5, 0.5]).double())


def test_step_weight_above_outcome_weight_must_be_asked_for():
    with pytest.raises(ValidationError, match="allow_step_heavy"):
        CreditConfig(step_weight=2.0)
    assert CreditConfig(step_weight=2.0, allow_step_heavy=True).step_weight == 2.0


def test_unknown_option_is_an_error():
    with pytest.raises(ValidationError, match="Extra inputs"):
        CreditConfig(step_wait=1.0)


def test_token_advantages_spread_and_pad():
    advantages = torch.tensor([[0.5, -1.0], [2.0, 0.0]])
    steps = torch.tensor([[0, 0, 1, -1], [1, 1, 0, 0]])
    expected = torch.tensor([[0.5, 0.5, -1.0, 0.0], [0.0, 0.0, 2.0, 2.0]])
    assert torch.equal(token_advantages(advantages, steps), expected)


def test_signal_and_its_reasons():
    advantages = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.1, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    groups = torch.tensor([4, 4, 1, 1, 7, 7])
    assert signal(advantages, groups).tolist() == [True, False, False]  # groups 1, 4, 7
    outcomes = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    assert no_signal_reasons(advantages, outcomes, groups) == {"all right": 1, "all wrong": 1}


@pytest.mark.parametrize("size", range(2, 17))
def test_terms_that_cancel_are_no_signal(size):
    """In float32: every step of the only right rollout is wrong, and the other way round."""
    outcomes = torch.tensor([1.0] + [0.0] * (size - 1))
    verdicts, groups = (1 - outcomes)[:, None].expand(size, 3), torch.zeros(size, dtype=torch.long)
    advantages = step_advantages(CreditConfig(), verdicts, outcomes, groups, LABEL)
    assert not signal(advantages, groups).any()
    assert no_signal_reasons(advantages, outcomes, groups) == {"mixed": 1}
