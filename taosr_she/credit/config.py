"""Options of the credit rules and of the policy loss."""

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from taosr_she.base.config import Strict
from taosr_she.credit.rules import RULES, find_rule

LINEAR = ("outcome", "srpo", "process", "token_penalty")
"""Rules that are linear in the outcome, so that its weight scales its term."""


class CreditConfig(Strict):
    """How verdicts and outcomes become advantages.

    Follows the abstract of TaoSR-SHE (arXiv 2510.07972), with these documented choices of our own instead of the
    paper's equations. Rules other than `srpo` use only `std`; `token_penalty` also uses the two weights.
    """

    later: ClassVar[dict[str, Any]] = {"label_weight": 0.0}
    rule: str = "srpo"
    """`outcome` is vanilla GRPO: the group-centred outcome on every token. `scalar` is GRPO on the score of a scalar
    reward model. `srpo` adds a step advantage to the outcome's. `process` sums step rewards from a step on, `min_form`
    takes their minimum. `pivot` puts the outcome's advantage on the right prefix or the first error, `mask` on the
    steps that agree with it. `token_penalty` subtracts a penalty for wrong steps from the outcome. Each rule is in the
    file of its name. Your own rule is named by import path: `my_package.rules:my_rule` (docs/extending.md)."""
    outcome_weight: float = Field(default=1.0, ge=0)
    """Weight of the outcome term. 1 gives the scale of vanilla GRPO, so learning rates carry over."""
    step_weight: float = Field(default=1.0, ge=0)
    """Weight of the step term, at most the outcome's weight: steps explain a label, they do not replace it."""
    allow_step_heavy: bool = False
    """Allow a step weight above the outcome weight, e.g. for the first stage of a curriculum. Off by default, because a
    policy that earns more from its steps than from its label can learn to please the examiner."""
    std: bool = False
    """Divide by the group's standard deviation (unbiased, plus 1e-4, as TRL does). Off by default, because it inflates
    the advantages of groups that hardly disagree (Dr. GRPO, 2503.20783)."""
    clamp: float = Field(default=2.0, gt=0)
    """Maximum absolute advantage of a step. Without `std`, two terms of weight 1 cannot exceed 2, so the default has an
    effect only with `std` or larger weights. Rules `outcome` and `scalar` are not clamped, to equal GRPO."""
    step_baseline: Literal["group", "reached"] = "group"
    """Rollouts that a step is compared with: all of its group, or (`reached`) those that are right in every known step
    before it. `group` compares more rollouts, and was part of the best combination of a one-seed prototype."""
    after_error: Literal["all", "outcome", "negative_outcome"] = "all"
    """Credit of the steps after the first error (the first step known to be wrong). `all` keeps both terms, `outcome`
    only the outcome term, `negative_outcome` only a negative outcome term. `all` was part of the best combination of a
    one-seed prototype; the other two are for the ablation."""
    outcome_on: Literal["all", "label"] = "all"
    """Steps that carry the outcome term: all of them, or only the label step. With `all`, a step without a verdict
    still has a term to learn from."""
    flawed_outcome: float = Field(default=1.0, ge=0, le=1)
    """Share of the outcome that a right label earns when a step is known to be wrong, applied before the group's mean
    is taken. 1 (default) switches this guard rail off, because the step term already separates right from wrong steps.
    0 rewards a right label only if no step is known to be wrong."""

    label_weight: float = Field(default=0.0, ge=0, le=1)
    """Weight the outcome of a pair by (share of its label among the training pairs) ** -label_weight, scaled to a mean
    of 1. 0: all outcomes have equal weight. 1: every label has the same total weight (the inverse prior), so it no
    longer pays to give every pair the most frequent label. For the rules `outcome`, `srpo`, `process` and
    `token_penalty`, without `std`, which would divide the weight out."""

    @field_validator("rule")
    @classmethod
    def _check_rule(cls, rule: str) -> str:
        if rule not in RULES:  # our own rules exist, and importing them would load torch
            find_rule(rule)
        return rule

    @model_validator(mode="after")
    def _outcome_leads(self) -> "CreditConfig":
        if self.step_weight > self.outcome_weight and not self.allow_step_heavy:
            raise ValueError("step_weight is above outcome_weight; lower it or set allow_step_heavy: true")
        return self

    @model_validator(mode="after")
    def _weight_counts(self) -> "CreditConfig":
        if self.label_weight and self.rule not in LINEAR:
            raise ValueError(f"label_weight works with the rules {', '.join(LINEAR)}, not with '{self.rule}'")
        if self.label_weight and self.std:
            raise ValueError(
                "label_weight with std: true has no effect: the standard deviation divides it out; remove one of them"
            )
        return self


class LossConfig(Strict):
    """The clipped policy loss (PPO, 1707.06347; GRPO, 2402.03300)."""

    later: ClassVar[dict[str, Any]] = {"label_entropy": 0.0}
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    """The probability ratio is clipped below 1 - clip_low. 0.2 is PPO's."""
    clip_high: float = Field(default=0.2, gt=0)
    """The probability ratio is clipped above 1 + clip_high. 0.2 is PPO's; DAPO (2503.14476) raises it to 0.28."""
    beta: float = Field(default=0.0, ge=0)
    """Weight of the KL divergence to the start policy (k3 estimator). 0 needs no reference model."""
    label_entropy: float = Field(default=0.0, ge=0)
    """Weight of a bonus for the entropy of the label's token, as an advantage of that token. Above 0, groups without
    signal are trained on too, because they need the bonus most."""
    normalise: Literal["token", "response"] = "token"
    """`token`: mean over all tokens of the batch. `response`: mean over responses of their token means, which gives a
    token of a long response less weight (DAPO, 2503.14476)."""
