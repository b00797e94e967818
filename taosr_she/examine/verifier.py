"""The offline verifier: verdicts from annotations. References come first, then verdicts, else the step is unknown.

1. The label step is right if the label is the pair's human label, if the pair has one.
2. A closed step is right if its conclusion equals that of the majority of references, compared canonically (order, case
   and synonyms of the domain do not matter). A partial reference (`color: ?`) can only prove it wrong.
3. Any step is right or wrong by the majority of verdicts on the same text (apart from case and white space).

`majority` defines the majority of annotators. Everything else is unknown.
"""

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from taosr_she.domain.annotation import normal_text
from taosr_she.domain.conclusions import concludes
from taosr_she.domain.domain import Domain, StepSpec
from taosr_she.domain.pair import Annotation, Pair
from taosr_she.domain.response import Response, Step
from taosr_she.examine.majority import (
    MACHINE,
    Opinion,
    StepPlace,
    TextPlace,
    majority_references,
    majority_verdicts,
)
from taosr_she.examine.store import AnnotationStore, Place
from taosr_she.examine.verdicts import CODE, Verdicts

__all__ = ["MACHINE", "Verifier"]


class Verifier:
    """Answers from annotations; see the module's docstring.

    From a list, the majorities are computed once. From a store, each batch looks up only its own pairs and texts, so
    annotations added during a run count from the next batch.

    >>> verifier = Verifier(load_domain("taobao"), [Annotation("p1", "category", "same")])  # doctest: +SKIP
    >>> verifier.examine([pair], [parse_response(domain, text)]).values  # (1, K)          # doctest: +SKIP
    """

    def __init__(self, domain: Domain, annotations: Iterable[Annotation] | AnnotationStore) -> None:
        self.domain = domain
        self._store = annotations if isinstance(annotations, AnnotationStore) else None
        listed = [] if isinstance(annotations, AnnotationStore) else list(annotations)
        self._listed = majority_references(domain, listed), majority_verdicts(listed)
        self._asked = 0
        self._answered = np.zeros(len(domain.steps), dtype=np.int64)

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        """Verdicts for B responses, one per pair entry. A missing section of a referenced step is wrong."""
        shape = (len(responses), len(self.domain.steps))
        values = np.full(shape, np.nan, dtype=np.float32)
        sources = np.zeros(shape, dtype=np.int8)
        references, verdicts = self._looked_up(pairs, responses) if self._store else self._listed
        for b, (pair, response) in enumerate(zip(pairs, responses, strict=True)):
            for k, spec in enumerate(self.domain.steps):
                if spec.form == "label" and pair.label is not None:
                    values[b, k], sources[b, k] = float(response.label == pair.label), CODE["human"]
                    continue
                reference = references.get((pair.pair_id, spec.key))
                found = self._by_reference(reference, spec, response.steps[k])
                if found is None:
                    found = self._by_verdict(verdicts, pair, response.steps[k])
                if found is not None:
                    values[b, k], sources[b, k] = found
        self._asked += len(responses)
        self._answered += (~np.isnan(values)).sum(axis=0)
        return Verdicts(values, sources)

    def renew(self, pair_ids: Collection[str], annotations: Sequence[Annotation]) -> None:
        """From now on, these annotations are all that is known about these pairs. Not for a verifier on a store, which
        looks up what it needs."""
        references, verdicts = self._listed
        for place in [place for place in references if place[0] in pair_ids]:
            del references[place]
        for text in [text for text in verdicts if text[0] in pair_ids]:
            del verdicts[text]
        references.update(majority_references(self.domain, annotations))
        verdicts.update(majority_verdicts(annotations))

    def hit_rate(self) -> dict[str, float]:
        """Step key -> share of the responses examined so far whose step was known; empty before the first one."""
        if not self._asked:
            return {}
        return dict(zip(self.domain.step_keys, (self._answered / self._asked).tolist(), strict=True))

    def _by_reference(self, opinion: Opinion | None, spec: StepSpec, step: Step | None) -> tuple[float, int] | None:
        if opinion is None or opinion.value is None:
            return None
        right = step is not None and concludes(self.domain, spec, step.text, opinion.value)
        return None if right is None else (float(right), _source(opinion))

    def _by_verdict(
        self, verdicts: dict[TextPlace, Opinion], pair: Pair, step: Step | None
    ) -> tuple[float, int] | None:
        if step is None or not verdicts:
            return None
        opinion = verdicts.get((pair.pair_id, step.key, normal_text(step.text)))
        if opinion is None or opinion.value is None:
            return None
        return float(opinion.value == "correct"), _source(opinion)

    def _looked_up(
        self, pairs: Sequence[Pair], responses: Sequence[Response]
    ) -> tuple[dict[StepPlace, Opinion], dict[TextPlace, Opinion]]:
        assert self._store is not None
        references = majority_references(self.domain, self._store.references({p.pair_id for p in pairs}))
        decided = {place for place, opinion in references.items() if opinion.value is not None}
        label = self.domain.step_keys[self.domain.label_step]
        decided |= {(pair.pair_id, label) for pair in pairs if pair.label is not None}
        texts = {
            Place(pair.pair_id, step.key, normal_text(step.text))
            for pair, response in zip(pairs, responses, strict=True)
            for step in response.steps
            if step is not None and (pair.pair_id, step.key) not in decided
        }
        return references, majority_verdicts(self._store.verdicts(texts))


def _source(opinion: Opinion) -> int:
    return CODE["machine" if opinion.machine else "human"]
