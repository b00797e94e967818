"""Your own examiner, named by import path; its answers are checked."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from taosr_she.base.errors import UserError
from taosr_she.base.import_path import check_call, import_named
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import Response
from taosr_she.examine.verdicts import CODE, SOURCES, Verdicts


def examiner_class(path: str, options: Mapping[str, Any]) -> type:
    """The class at an import path. Raises a ValueError of one line if it does not exist, if it is not a class with
    `examine(pairs, responses)`, or if it cannot be called with a domain and these options."""
    named = import_named(path)
    examine = getattr(named, "examine", None)
    if not inspect.isclass(named) or not callable(examine):
        raise ValueError(f"{path}: expected a class with a method examine(pairs, responses)")
    check_call(path, named, ("domain",), options)
    check_call(f"{path}.examine", examine, ("self", "pairs", "responses"))
    return named


class Foreign:
    """Builds the examiner and checks its answers against the contract of `Verdicts`: a wrong shape or an invalid number
    is a UserError that names the examiner."""

    def __init__(self, path: str, options: Mapping[str, Any], domain: Domain) -> None:
        self.path, self.steps = path, len(domain.steps)
        self.examiner = examiner_class(path, options)(domain, **options)

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        """Verdicts (B, K) for B responses, one pair entry each."""
        found = self.examiner.examine(pairs, responses)
        shape = (len(responses), self.steps)
        if not isinstance(found, Verdicts):
            raise UserError(f"examiner {self.path}: returned {type(found).__name__}, expected Verdicts")
        values, sources = np.asarray(found.values, dtype=np.float32), np.asarray(found.sources, dtype=np.int8)
        if values.shape != shape or sources.shape != shape:
            raise UserError(
                f"examiner {self.path}: returned values {values.shape} and sources {sources.shape}, expected {shape}: "
                "one row per response, one column per step"
            )
        known = ~np.isnan(values)
        if ((values[known] < 0) | (values[known] > 1)).any():
            raise UserError(f"examiner {self.path}: a verdict must be from 0 to 1, or NaN if it is unknown")
        if ((sources < 0) | (sources >= len(SOURCES))).any() or ((sources != CODE["unknown"]) != known).any():
            raise UserError(
                f"examiner {self.path}: the source of a verdict must be a code of {', '.join(SOURCES)}, and `unknown` "
                "exactly where the verdict is NaN"
            )
        return Verdicts(values, sources)
