"""The offline verifier: verdicts from stored reference annotations.

A closed step is right when it concludes what the reference concludes, compared canonically (order, case and synonyms of
the domain do not matter). The label step is right when the label is the pair's human label. Everything else is unknown.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from taosr_she.domain.conclusions import canonical
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Annotation, Pair
from taosr_she.domain.response import Response
from taosr_she.examine.verdicts import CODE, Verdicts

MACHINE = "machine:"
"""Annotators whose name starts so are programs; their verdicts carry the source `machine`."""


class Verifier:
    """Answers from reference annotations; see the module's docstring.

    >>> verifier = Verifier(load_domain("taobao"), [Annotation("p1", "category", "same")])  # doctest: +SKIP
    >>> verifier.examine([pair], [parse_response(domain, text)]).values  # (1, K)          # doctest: +SKIP
    """

    def __init__(self, domain: Domain, annotations: Iterable[Annotation]) -> None:
        self.domain = domain
        self._specs = {spec.key: spec for spec in domain.steps}
        self._references: dict[tuple[str, str], tuple[str, int]] = {}
        for a in annotations:
            spec = self._specs.get(a.step)
            if spec is not None and spec.kind == "closed" and a.verdict == "correct" and not a.response_id:
                source = CODE["machine" if a.annotator.startswith(MACHINE) else "human"]
                self._references[a.pair_id, a.step] = (canonical(domain, spec, a.conclusion), source)

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        """Verdicts for B responses, one per pair entry. A missing section of a referenced step is wrong."""
        shape = (len(responses), len(self.domain.steps))
        values = np.full(shape, np.nan, dtype=np.float32)
        sources = np.zeros(shape, dtype=np.int8)
        for b, (pair, response) in enumerate(zip(pairs, responses, strict=True)):
            for k, spec in enumerate(self.domain.steps):
                step = response.steps[k]
                if spec.form == "label":
                    if pair.label is not None:
                        values[b, k] = float(response.label == pair.label)
                        sources[b, k] = CODE["human"]
                    continue
                reference = self._references.get((pair.pair_id, spec.key))
                if reference is not None:
                    right = step is not None and canonical(self.domain, spec, step.text) == reference[0]
                    values[b, k] = float(right)
                    sources[b, k] = reference[1]
        return Verdicts(values, sources)
