"""Weights and bonus against a skew of labels, each against its formula written out."""

import importlib.util
import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from taosr_she.credit.advantages import step_advantages
from taosr_she.credit.config import CreditConfig
from taosr_she.credit.label_balance import entropy_bonus, label_weights

spec = importlib.util.spec_from_file_location("credit_reference", Path(__file__).with_name("reference.py"))
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)
LABEL = 2


@given(st.lists(st.sampled_from("4321"), min_size=1, max_size=40), st.floats(0, 1))
def test_weights_are_powers_of_the_shares_with_mean_one(labels: list[str], strength: float) -> None:
    found = label_weights(labels, strength)
    counts = Counter(labels)
    powers = {label: (n / len(labels)) ** -strength for label, n in counts.items()}
    mean = sum(powers[label] for label in labels) / len(labels)
    assert found == pytest.approx({label: power / mean for label, power in powers.items()})
    assert sum(found[label] for label in labels) / len(labels) == pytest.approx(1)


def test_the_ends_of_the_strength() -> None:
    labels = ["4"] * 6 + ["3"] * 3 + ["1"]
    assert list(label_weights(labels, 0.0).values()) == pytest.approx([1, 1, 1])
    whole = label_weights(labels, 1.0)
    assert [whole[c] * labels.count(c) for c in "431"] == pytest.approx([10 / 3] * 3), "every label the same in total"


@pytest.mark.parametrize("rule", ["outcome", "srpo", "process", "token_penalty"])
@given(data=st.data())
def test_weighted_outcomes_equal_the_loop_reference_of_the_rule(rule: str, data: st.DataObject) -> None:
    """Groups of three rollouts; GRPO and SRPO take the same weights, SRPO's step terms none."""
    n = 3 * data.draw(st.integers(1, 3))
    groups = [b // 3 for b in range(n)]
    verdict = st.sampled_from([0.0, 0.3, 0.8, 1.0, math.nan])
    verdicts = [[data.draw(verdict) for _ in range(4)] for _ in range(n)]
    outcomes = [float(data.draw(st.booleans())) for _ in range(n)]
    by_group = [data.draw(st.sampled_from([0.5, 1.0, 3.0])) for _ in range(n // 3)]
    weights = [by_group[g] for g in groups]
    config = CreditConfig(rule=rule, label_weight=0.5, clamp=1.5)
    earned = [o * w for o, w in zip(outcomes, weights, strict=True)]
    if rule == "outcome":
        expected = reference.outcome(verdicts, earned, groups)
    else:
        expected = getattr(reference, rule)(verdicts, earned, groups, LABEL, config)
    found = step_advantages(
        config, torch.tensor(verdicts, dtype=torch.float64), torch.tensor(outcomes), torch.tensor(groups), LABEL,
        torch.tensor(weights),
    )  # fmt: skip
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), atol=4e-6, rtol=1e-5)


def test_weights_where_they_would_do_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="not with 'mask'"):
        CreditConfig(rule="mask", label_weight=0.5)
    with pytest.raises(ValidationError, match="standard deviation divides it out"):
        CreditConfig(rule="outcome", std=True, label_weight=0.5)


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=5))
def test_the_bonus_follows_the_gradient_of_the_entropy_on_average(logits: list[float]) -> None:
    """All actions of one state, each as often as the policy takes it, against autograd through the entropy."""
    raw = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    logp = raw.log_softmax(0)
    entropy = -(logp.exp() * logp).sum()
    (expected,) = torch.autograd.grad(entropy, raw, retain_graph=True)
    detached = logp.detach()
    bonus = entropy_bonus(
        detached[:, None], entropy.detach().expand(len(logits), 1), torch.zeros(len(logits), dtype=torch.long), 0.7
    )[:, 0]
    (found,) = torch.autograd.grad((detached.exp() * bonus * logp).sum(), raw)
    torch.testing.assert_close(found, 0.7 * expected)


def test_the_bonus_stands_on_the_label_alone_and_pushes_a_policy_that_is_sure() -> None:
    sure = -(0.99 * math.log(0.99) + 0.01 * math.log(0.01))
    logp, entropy = torch.full((3, 4), math.log(0.99)), torch.full((3, 4), sure)
    bonus = entropy_bonus(logp, entropy, torch.tensor([2, 0, -1]), 1.0)
    expected = torch.zeros(3, 4)
    expected[0, 2] = expected[1, 0] = -math.log(0.99) - sure
    torch.testing.assert_close(bonus, expected)
    assert expected[0, 2] < -0.04, "the likely label loses although every rollout gives it"
