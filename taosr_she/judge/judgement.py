"""A model's judgement of one pair: label, probabilities, expected grade, steps, or the reason for a missing label."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from taosr_she.domain.domain import Domain
from taosr_she.domain.response import Response, parse_response
from taosr_she.judge.decision import WRITTEN, Decision, decide, decide_tier


@dataclass(frozen=True)
class Judgement:
    """A model's judgement of one pair. Either `label` or `reason` is None, never both.

    A malformed response has no label, but it has probabilities if it gets as far as the label's section.
    """

    pair_id: str
    label: str | None  # a code of the domain's label scale, by the decision rule
    probabilities: dict[str, float] | None  # code -> probability, adding up to 1, best grade first
    expected_grade: float | None  # a number for ranking, see `expected_grade`; None without probabilities
    steps: dict[str, str | None]  # key -> text, in the order of the step schema; None where the section is missing
    reason: str | None  # why there is no label
    response: str  # the model's text; "" if it wrote none
    tokens: int = 0  # generated tokens, end token included
    tier: str | None = None  # name of the domain's tier; None without a label, or if the domain has no tiers
    parsed: Response = field(kw_only=True, repr=False, compare=False)  # the response with its spans, for an examiner


def judgement(
    domain: Domain,
    pair_id: str,
    parsed: Response,
    probabilities: Mapping[str, float] | None,
    tokens: int,
    decision: Decision = WRITTEN,
) -> Judgement:
    """The judgement from a parsed response and its label distribution. The steps are as written, including the label
    step, whatever the rule decides."""
    steps = zip(domain.step_keys, parsed.steps, strict=True)
    label = decide(decision, domain.codes, parsed.label if parsed.well_formed else None, probabilities)
    return Judgement(
        pair_id=pair_id,
        label=label,
        probabilities=None if probabilities is None else dict(probabilities),
        expected_grade=None if probabilities is None else expected_grade(domain, probabilities),
        steps={key: step.text if step else None for key, step in steps},
        reason=parsed.reason,
        response=parsed.text,
        tokens=tokens,
        tier=decide_tier(decision, domain, label, probabilities),
        parsed=parsed,
    )


def label_judgement(
    domain: Domain, pair_id: str, probabilities: Mapping[str, float], decision: Decision = WRITTEN
) -> Judgement:
    """The judgement from a label distribution alone: the model wrote nothing, so rule `text` is the most probable
    label, and all steps but the label step are None."""
    probable = max(domain.codes, key=lambda code: probabilities[code])
    parsed = parse_response(domain, f"{domain.label_header} {probable}")
    parsed = replace(parsed, reason=None)  # the steps after the label were not asked for
    return replace(judgement(domain, pair_id, parsed, probabilities, 0, decision), response="")


def refusal(domain: Domain, pair_id: str, reason: str) -> Judgement:
    """The judgement of a pair that was not given to the model."""
    empty = parse_response(domain, "")
    return Judgement(pair_id, None, None, None, dict.fromkeys(domain.step_keys), reason, "", parsed=empty)


def expected_grade(domain: Domain, probabilities: Mapping[str, float]) -> float:
    """The mean of the grades' values under the label distribution: sum of `Domain.grade_values` x probability.

    It lies between the values of the worst and the best grade: 1 to 4 for the domains `taobao` and `esci`, 1 to 3 for
    `wands`. Higher is more relevant, so it ranks products that share a label.

    >>> from taosr_she.domain.domain import load_domain
    >>> expected_grade(load_domain("esci"), {"E": 0.5, "S": 0.25, "C": 0.0, "I": 0.25})
    3.0
    """
    values = zip(domain.codes, domain.grade_values, strict=True)
    return math.fsum(value * probabilities[code] for code, value in values)


def judgement_columns(domain: Domain, judged: Judgement) -> dict[str, Any]:
    """The columns of a judgement in a file: `predicted` (the label), `p_<code>` for every grade, `expected_grade`,
    `tier` if the domain has tiers, `step_<key>` for every step, `rationale`, `response`, and `malformed` (the reason).
    """
    probabilities = judged.probabilities or {}
    return {
        "predicted": judged.label,
        **{f"p_{code}": probabilities.get(code) for code in domain.codes},
        "expected_grade": judged.expected_grade,
        **({"tier": judged.tier} if domain.tiers else {}),
        **{f"step_{key}": text for key, text in judged.steps.items()},
        "rationale": rationale(domain, judged),
        "response": judged.response,
        "malformed": judged.reason,
    }


def column_kinds(domain: Domain) -> dict[str, type]:
    """The columns of a judgement with the type of their values."""
    numbers = {"expected_grade", *(f"p_{code}" for code in domain.codes)}
    return {name: float if name in numbers else str for name in judgement_columns(domain, refusal(domain, "", ""))}


def rationale(domain: Domain, judged: Judgement) -> str | None:
    """The reasoning for people: the steps but the label's, one a line, under their titles. None without reasoning."""
    lines = [
        f"{step.title}: {' '.join(text.split())}"
        for step in domain.steps
        if step.form != "label" and (text := judged.steps[step.key]) is not None
    ]
    return "\n".join(lines) or None
