"""Writes only the label: demonstrations for a domain whose only step is the label, for a model without reasoning."""

from taosr_she.base.errors import UserError
from taosr_she.data.demonstration import Demonstration
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import render_response

TEACHER = "label"


def label_demonstration(domain: Domain, pair: Pair) -> Demonstration:
    """The human label in the domain's response format. Raises UserError without a label."""
    if pair.label is None:
        raise UserError(f"pair '{pair.pair_id}' has no label: label it or leave it out")
    return Demonstration(pair.pair_id, render_response(domain, {domain.steps[0].key: pair.label}), TEACHER)


def check_label_only(domain: Domain) -> None:
    """Raises UserError if the domain has steps that this teacher cannot write."""
    if len(domain.steps) != 1:
        raise UserError(
            f"domain '{domain.name}': the teacher `label` writes only the label; remove the other steps "
            "(`domain_overrides: {steps: [...]}` with the label step), or use another teacher"
        )
