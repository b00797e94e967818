"""Chooses the decision rule and the threshold of tiers that are best on development pairs, and applies a rule."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from taosr_she.base.config import Strict
from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain
from taosr_she.evaluate.intervals import resampled_metrics
from taosr_she.evaluate.metrics import compute_metrics
from taosr_she.evaluate.prediction import Prediction
from taosr_she.evaluate.tiers import as_tiers
from taosr_she.judge.decision import MEDIAN, PRIORS, WRITTEN, Decision, decide

STRENGTHS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
"""Values from which the strength of `prior` and `own_prior` is chosen."""
RESAMPLES = 200
"""Bootstrap resamples of development queries, for the standard error of a difference."""
THRESHOLDS = tuple(round(0.05 * n, 2) for n in range(1, 20))
"""Values from which the threshold of `tiers` is chosen."""


class DecisionConfig(Strict):
    """How models decide on a label. Unset options are chosen on the development pairs, separately for each model."""

    later: ClassVar[dict[str, Any]] = {"tier_threshold": None, "chains": 1}
    rule: Literal["text", "argmax", "prior", "own_prior", "tiers", "auto"] = "text"
    """`text`: as written. `argmax`, `prior`, `own_prior`, `tiers`: from the label distribution (`judge.decision`).
    `auto`: the best of these."""
    strength: float | None = Field(default=None, ge=0)
    """For rules `prior` and `own_prior`; unset: chosen."""
    threshold: float | None = Field(default=None, gt=0, le=1)
    """For rule `tiers`; unset: chosen."""
    tier_threshold: float | Literal["auto"] | None = Field(default=None)
    """Threshold of the domain's tiers, above 0 and at most 1, whatever the rule of the labels. `auto`: the best on the
    development pairs. Unset: 0.5."""
    metric: Literal["macro_f1", "accuracy", "qwk"] = "macro_f1"
    """The metric that the choice maximises, over grades and over tiers."""
    chains: int = Field(default=1, gt=0)
    """Number of responses to a pair whose label distributions are averaged, sampled at temperature 1. The model has
    summed out its reasoning then: labels are better calibrated, at as many times the cost. 1: one greedy response. Mode
    `label` has none."""

    @model_validator(mode="after")
    def _check(self) -> "DecisionConfig":
        if self.strength is not None and self.rule not in PRIORS:
            raise ValueError("`strength` belongs to rules `prior` and `own_prior`")
        if self.threshold is not None and self.rule != "tiers":
            raise ValueError("`threshold` belongs to rule `tiers`")
        if isinstance(self.tier_threshold, float) and not 0 < self.tier_threshold <= 1:
            raise ValueError(f"`tier_threshold` lies above 0 and is at most 1, or is auto, not {self.tier_threshold}")
        return self

    @property
    def open(self) -> bool:
        """Whether development pairs are needed, to choose something or for the model's own prior."""
        return (
            self.rule in ("auto", "own_prior")
            or (self.rule, self.strength) == ("prior", None)
            or ((self.rule, self.threshold) == ("tiers", None))
            or self.tier_threshold == "auto"
        )

    @property
    def saved(self) -> bool:
        """Whether there is anything for `decision.json`."""
        return self.rule != "text" or self.tier_threshold is not None or self.chains > 1

    def candidates(self, prior: Mapping[str, float], own: Mapping[str, float]) -> list[Decision]:
        """The candidate decisions, simpler ones first. `prior`: code -> share in training; `own`: code -> the model's
        mean probability; empty where unknown.

        UserError for a rule that divides by something unknown."""
        every = [WRITTEN, Decision(rule="argmax")]
        strengths: tuple[float, ...] = STRENGTHS if self.strength is None else (self.strength,)
        if not any(prior.values()) and self.rule == "prior":
            raise UserError(
                "decision rule `prior` divides by the labels' shares in training, but no training pair has a label"
            )
        if not own and self.rule == "own_prior":
            raise UserError(
                "decision rule `own_prior` divides by mean label probabilities on development pairs, but there are "
                "none: the split has no development pairs, or nothing gives probabilities"
            )
        if any(prior.values()):
            every += [Decision(rule="prior", strength=s, prior=dict(prior)) for s in strengths]
        if own:
            every += [Decision(rule="own_prior", strength=s, prior=dict(own)) for s in strengths]
        thresholds = THRESHOLDS if self.threshold is None else (self.threshold,)
        every += [Decision(rule="tiers", threshold=t) for t in thresholds]
        chosen = [decision for decision in every if self.rule in ("auto", decision.rule)]
        return [decision.model_copy(update={"chains": self.chains}) for decision in chosen]


def choose_decision(
    domain: Domain, development: Sequence[Prediction], prior: Mapping[str, float], config: DecisionConfig
) -> tuple[Decision, dict[str, float]]:
    """The first candidate that is not clearly worse than the best on development pairs; and name -> metric of each.

    Not clearly worse: the difference is at most its standard error, from a bootstrap over queries (the rule of one
    standard error, Breiman et al. 1984). The best of two dozen candidates on a few queries is often best by chance: on
    Chorus with 15 development queries the best ones were no better than the text on test pairs (docs/evaluation.md).

    A single candidate needs no pairs, but for the mean probabilities of `own_prior`. UserError if pairs are needed and
    there are none.
    """
    candidates = config.candidates(prior, mean_probs(domain, development))
    if len(candidates) == 1:
        return candidates[0], {}
    _need(development)
    chosen, found = _first_close(domain, [decided(domain, development, d) for d in candidates], config.metric)
    return candidates[chosen], {d.name: value for d, value in zip(candidates, found, strict=True)}


def mean_probs(domain: Domain, predictions: Sequence[Prediction]) -> dict[str, float]:
    """Code -> mean probability over the predictions that have probabilities; empty if none has."""
    known = [p.probs for p in predictions if p.probs is not None]
    return dict(zip(domain.codes, np.mean(known, axis=0).tolist(), strict=True)) if known else {}


def choose_tier_threshold(
    domain: Domain, development: Sequence[Prediction], decision: Decision, config: DecisionConfig
) -> tuple[Decision, dict[str, float]]:
    """The decision with the threshold of the domain's tiers, and threshold -> metric over tiers of each candidate.

    As for rules: the candidate nearest to 0.5, the median grade, that is not clearly worse than the best. Nothing is
    chosen if a threshold is given, or none is asked for.
    """
    if config.tier_threshold != "auto":
        return decision.model_copy(update={"tier_threshold": config.tier_threshold}), {}
    _need(development)
    nearest = sorted(THRESHOLDS, key=lambda t: (abs(t - MEDIAN), t))
    candidates = [decision.model_copy(update={"tier_threshold": t}) for t in nearest]
    scale = [as_tiers(domain, development, d) for d in candidates]
    chosen, found = _first_close(scale[0][0], [answers for _, answers in scale], config.metric)
    return candidates[chosen], {f"{t:g}": value for t, value in sorted(zip(nearest, found, strict=True))}


def _need(development: Sequence[Prediction]) -> None:
    if not development:
        raise UserError("`decision` is chosen on development pairs, and there are none: give the split a share")


def _first_close(domain: Domain, answers: Sequence[Sequence[Prediction]], metric: str) -> tuple[int, list[float]]:
    """The first of several candidates' answers to the same pairs that is not clearly worse than the best, and the
    metric of each."""
    found = [compute_metrics(domain, a)[metric] for a in answers]
    best = max(range(len(answers)), key=lambda i: -math.inf if math.isnan(found[i]) else found[i])
    drawn = [resampled_metrics(domain, a, RESAMPLES, 0)[metric] for a in answers]
    close = (i for i in range(best) if found[best] - found[i] <= _spread(drawn[best] - drawn[i]))
    return next(close, best), found


def _spread(differences: np.ndarray) -> float:
    """Standard error from resampled differences; 0 where a single query gives none: then only an equal is close."""
    known = differences[~np.isnan(differences)]
    return float(known.std()) if known.size else 0.0


def decided(domain: Domain, predictions: Sequence[Prediction], decision: Decision) -> list[Prediction]:
    """The predictions with the labels that the rule gives. Responses, steps and verdicts are unchanged."""
    codes = domain.codes
    return [
        replace(
            p,
            predicted=decide(
                decision, codes, p.predicted, None if p.probs is None else dict(zip(codes, p.probs, strict=True))
            ),
        )
        for p in predictions
    ]
