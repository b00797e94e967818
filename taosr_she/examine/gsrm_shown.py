"""Examples for the report: responses as a GSRM examined them, with its critiques and what people say."""

import math
from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np

from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import Response
from taosr_she.examine.hybrid import RIGHT
from taosr_she.examine.verdicts import Examination, first_wrong

KINDS = ("found", "other", "missed", "invented", "passed")
"""What became of the first error: found; another step named; missed. Without an error: one invented; passed."""
PER_KIND = 2


def shown_examples(
    domain: Domain,
    pairs: Sequence[Pair],
    responses: Sequence[Response],
    truth: np.ndarray,
    examined: Examination,
    seed: int,
) -> list[dict[str, Any]]:
    """Up to PER_KIND responses of each kind, drawn at random among those whose K steps people and the GSRM know."""
    values = examined.verdicts.values
    known = ~np.isnan(truth).any(axis=1) & ~np.isnan(values).any(axis=1)
    first, named = first_wrong(truth < RIGHT), first_wrong(values < RIGHT)
    order = Random(f"examples {seed}").sample(range(len(pairs)), len(pairs))
    chosen = []
    for kind in KINDS:
        of_kind = [b for b in order if known[b] and _kind(first[b], named[b], len(domain.steps)) == kind]
        chosen += [(kind, b) for b in of_kind[:PER_KIND]]
    return [
        {
            "kind": kind, "pair_id": pairs[b].pair_id, "query": pairs[b].query, "product": pairs[b].product.title,
            "steps": [
                {
                    "step": spec.key, "text": step.text if step else None, "people": _number(truth[b, k]),
                    "gsrm": _number(values[b, k]), "critique": examined.critiques[b][k],
                }
                for k, (spec, step) in enumerate(zip(domain.steps, responses[b].steps, strict=True))
            ],
        }
        for kind, b in chosen
    ]  # fmt: skip


def _kind(first: int, named: int, steps: int) -> str:
    if first == steps:
        return "passed" if named == steps else "invented"
    return "found" if named == first else "missed" if named == steps else "other"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 4)
