"""From a label distribution to a label: the decision rule, and its file in a model folder.

The label in the model's text is one option. If one grade is much more frequent than the others, a model that is rightly
unsure writes that grade too often; its probabilities then contain more information than its text. The best rule is
chosen on development pairs (`evaluate.choice`), never here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from taosr_she.base.config import Strict
from taosr_she.base.errors import UserError
from taosr_she.base.files import write_json
from taosr_she.base.strict_yaml import read_yaml
from taosr_she.domain.domain import Domain, describe

DECISION_FILE = "decision.json"
"""Name of the file in a model folder."""
Rule = Literal["text", "argmax", "prior", "own_prior", "tiers"]
PRIORS = ("prior", "own_prior")
"""Rules that divide by a prior."""
MEDIAN = 0.5
"""The threshold of tiers if none was chosen: the tier of the median grade."""


class Decision(Strict):
    """How the label is derived from a response and its label distribution."""

    rule: Rule = "text"
    """`text`: the label as written. `argmax`: the most probable label. `prior`: the most probable label after dividing
    each probability by (share of the label in training) ** `strength`. `own_prior`: the same with the mean probability
    that the model itself gives the label on development pairs. `tiers`: the best grade at which the probabilities,
    summed from the best grade downwards, reach `threshold`."""
    strength: float | None = Field(default=None, ge=0)
    """For `prior` and `own_prior`: 0 is `argmax`, 1 removes the prior completely."""
    prior: dict[str, float] | None = None
    """For `prior`: code -> share of the label in training. For `own_prior`: code -> mean probability."""
    threshold: float | None = Field(default=None, gt=0, le=1)
    """For `tiers`: 0.5 gives the median grade; a lower value is more generous."""
    tier_threshold: float | None = Field(default=None, gt=0, le=1)
    """For the tier, whatever the rule of the label: the best tier at which the probabilities, summed from the best
    grade downwards, reach it. Unset: 0.5."""
    chains: int = Field(default=1, gt=0)
    """Number of responses to a pair whose label distributions are averaged, in mode `reason` (`judge.chains`). Rule
    `text` then takes the label that the response shown has. 1: one greedy response."""

    @model_validator(mode="after")
    def _check(self) -> "Decision":
        takes = {"tiers": {"threshold"}} | {rule: {"strength", "prior"} for rule in PRIORS}
        needed = takes.get(self.rule, set())
        given = {name for name in ("strength", "prior", "threshold") if getattr(self, name) is not None}
        if needed != given:
            raise ValueError(
                f"rule '{self.rule}' takes {' and '.join(sorted(needed)) or 'no parameter'}, "
                f"not {', '.join(sorted(given)) or 'none'}"
            )
        return self

    @property
    def name(self) -> str:
        """Name in a table: `text`, `argmax`, `prior 0.75`, `tiers 0.4`, `text, 4 chains`."""
        value = self.strength if self.strength is not None else self.threshold
        rule = self.rule if value is None else f"{self.rule} {value:g}"
        return rule if self.chains == 1 else f"{rule}, {self.chains} chains"

    @property
    def told(self) -> dict[str, Any]:
        """The rule as it is written to files; one chain goes without saying."""
        return self.model_dump(mode="json", exclude_none=True, exclude={"chains"} if self.chains == 1 else set())


WRITTEN = Decision()
"""The label as written."""


def decide(
    decision: Decision, codes: tuple[str, ...], written: str | None, probs: Mapping[str, float] | None
) -> str | None:
    """The label of a response: `codes` best first, the `written` label, `probs` code -> probability.

    None stays None: a malformed response has no label by any rule. Without probabilities, the written label is used. In
    a tie, the better grade wins. Source of `tiers`: cumulative probability tiering, TaoSR1 (2508.12365); of `own_prior`
    with strength 1: batch calibration (2309.17249).

    >>> decide(Decision(rule="tiers", threshold=0.4), ("E", "S", "I"), "I", {"E": 0.3, "S": 0.2, "I": 0.5})
    'S'
    """
    if written is None or probs is None or decision.rule == "text":
        return written
    if decision.rule == "tiers":
        assert decision.threshold is not None
        return reached(codes, probs, decision.threshold)
    scores = dict(probs)
    if decision.rule in PRIORS:
        assert decision.prior is not None and decision.strength is not None
        # For a label that never occurs, the quotient would be meaningless.
        scores = {
            code: probs[code] / decision.prior[code] ** decision.strength if decision.prior.get(code) else 0.0
            for code in codes
        }
    return max(codes, key=lambda code: scores[code])


def reached(codes: tuple[str, ...], probs: Mapping[str, float], threshold: float) -> str:
    """The best grade at which the probabilities, summed from the best grade downwards, reach the threshold.

    Source: cumulative probability tiering (CumPT) of TaoSR1 (2508.12365).
    """
    mass = 0.0
    for code in codes:
        mass += probs[code]
        if mass >= threshold - 1e-9:  # sums of floats
            return code
    return codes[-1]


def decide_tier(decision: Decision, domain: Domain, label: str | None, probs: Mapping[str, float] | None) -> str | None:
    """The domain's tier of a response with this `label`; None if it has no label, or the domain no tiers.

    It is the tier of the grade that rule `tiers` gives at the tier threshold. So one threshold separates all tiers, and
    the label, by whatever rule, is a decision of its own. Without probabilities it is the tier of the label.

    >>> from taosr_she.domain.domain import load_domain
    >>> spread = {"4": 0.2, "3": 0.25, "2": 0.45, "1": 0.1}
    >>> [decide_tier(Decision(tier_threshold=t), load_domain("taobao"), "2", spread) for t in (0.4, 0.5)]
    ['good', 'mid']
    """
    if label is None or not domain.tiers:
        return None
    threshold = MEDIAN if decision.tier_threshold is None else decision.tier_threshold
    return domain.tier_of(label if probs is None else reached(domain.codes, probs, threshold))


def save_decision(decision: Decision, folder: Path) -> None:
    """Write the rule next to the weights, where judging with the model finds it."""
    write_json(folder / DECISION_FILE, decision.told)


def saved_decision(model: str | Path, domain: Domain) -> Decision:
    """The decision rule of a model folder; WRITTEN if it has none. UserError for a file that does not fit."""
    path = Path(model) / DECISION_FILE
    if not path.is_file():
        return WRITTEN
    raw: Any = read_yaml(path, str(path))  # JSON is YAML
    try:
        decision = Decision.model_validate(raw)
    except ValidationError as error:
        raise UserError(
            f"{path}: {describe(error)}; evaluate again, or remove the file to take labels as written"
        ) from error
    unknown = sorted((decision.prior or {}).keys() - set(domain.codes))
    if unknown:
        raise UserError(f"{path}: '{unknown[0]}' is not on the label scale of {domain.name}; remove the file")
    return decision
