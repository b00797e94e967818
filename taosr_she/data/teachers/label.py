"""Writes only the label: demonstrations for a model without reasoning, and exercises for the label alone."""

from taosr_she.base.errors import UserError
from taosr_she.data.demonstration import Demonstration
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair

TEACHER = "label"


def label_demonstration(domain: Domain, pair: Pair) -> Demonstration:
    """The label in the domain's response format, without other steps. Raises UserError if the pair has none."""
    if pair.label is None:
        raise UserError(f"pair '{pair.pair_id}' has no label: label it or leave it out")
    key = domain.steps[domain.label_step].key
    return Demonstration(pair.pair_id, f"[{key}] {pair.label}", TEACHER, taught=(key,))
