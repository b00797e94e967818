"""The hybrid: people if they have annotated, a GSRM otherwise. Every step keeps the source of its verdict."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from taosr_she.base.errors import UserError
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import Response
from taosr_she.examine.verdicts import CODE, Examiner, Verdicts

Mode = Literal["human_first", "gsrm_only", "human_only", "agree"]
RIGHT = 0.5
"""A verdict of at least this counts as right."""
BAR = 0.6
"""Minimum first-error F1 of a GSRM on held-out people."""


class Hybrid:
    """Two examiners combined; `human` is usually the offline verifier, `gsrm` the GSRM.

    | mode | verdict of a step |
    | --- | --- |
    | `human_first` | the human one if known, else the GSRM's |
    | `gsrm_only` | the GSRM's, whatever people's verdicts are |
    | `human_only` | the human one if known |
    | `agree` | the human one if both agree (right or wrong), unknown if they differ; else the known one |

    In `agree` a disagreement makes the verdict unknown, because an annotator's slip and a GSRM's mistake look alike;
    credit then falls back to the outcome. A step that only the GSRM knows keeps the GSRM's verdict. Otherwise, the mode
    would train only on annotated pairs, like `human_only`.

    The GSRM is asked only if its answer can matter: in `human_first` about responses with some step that the human side
    does not know, in `human_only` never. `examined` and `asked` count responses, and those that the GSRM was asked
    about, over the life of this object.

    >>> hybrid = Hybrid(verifier, gsrm)                       # doctest: +SKIP
    >>> hybrid.examine(pairs, responses).sources              # doctest: +SKIP
    """

    def __init__(self, human: Examiner, gsrm: Examiner | None, mode: Mode = "human_first") -> None:
        """`gsrm` may be None in mode `human_only`. Raises UserError for an unknown mode or a missing GSRM."""
        if mode not in get_args(Mode):
            raise UserError(f"hybrid mode '{mode}': expected one of {', '.join(get_args(Mode))}")
        if gsrm is None and mode != "human_only":
            raise UserError(f"hybrid mode '{mode}' needs a GSRM: name one, or use human_only")
        self.human, self.gsrm, self.mode = human, gsrm, mode
        self.examined = self.asked = 0

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        """Verdicts (B, K) for B responses, one pair entry each."""
        self.examined += len(responses)
        if self.mode == "gsrm_only":
            return self._ask(pairs, responses)
        human = self.human.examine(pairs, responses)
        if self.mode == "human_only":
            return human
        rows = list(range(len(responses)))
        if self.mode == "human_first":
            rows = np.flatnonzero(np.isnan(human.values).any(axis=1)).tolist()
        if not rows:
            return human
        gsrm = self._ask([pairs[b] for b in rows], [responses[b] for b in rows])
        values, sources = human.values.copy(), human.sources.copy()
        values[rows], sources[rows] = _merge(Verdicts(values[rows], sources[rows]), gsrm, self.mode)
        return Verdicts(values, sources)

    def _ask(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        assert self.gsrm is not None  # checked at construction
        self.asked += len(responses)
        return self.gsrm.examine(pairs, responses)


def _merge(human: Verdicts, gsrm: Verdicts, mode: Mode) -> tuple[np.ndarray, np.ndarray]:
    """Values and sources (B, K) of modes `human_first` and `agree`."""
    by_human = ~np.isnan(human.values)
    values = np.where(by_human, human.values, gsrm.values)
    sources = np.where(by_human, human.sources, gsrm.sources)
    if mode == "agree":
        both = by_human & ~np.isnan(gsrm.values)
        apart = both & ((human.values >= RIGHT) != (gsrm.values >= RIGHT))
        values[apart], sources[apart] = np.nan, CODE["unknown"]
    return values, sources


def check_bar(report: Mapping[str, float | None], bar: float = BAR, override: bool = False) -> None:
    """Refuse a GSRM whose `first_error_f1` on held-out people is below `bar`, or could not be measured (NaN, absent).

    Raises UserError; with `override` it logs the same text as a warning, so the use of such a GSRM is always reported.
    """
    found_f1 = report.get("first_error_f1")  # None: a NaN that went through JSON
    f1 = math.nan if found_f1 is None else found_f1
    if f1 >= bar:
        return
    found = "has no first-error F1 on held-out people" if math.isnan(f1) else f"reaches a first-error F1 of {f1:.3f}"
    message = f"the GSRM {found}; the bar is {bar:g}"
    if not override:
        raise UserError(f"{message}: train it on more verdicts, use mode human_only, lower the bar or override it")
    logging.getLogger(__name__).warning("%s: used all the same, as asked", message)
