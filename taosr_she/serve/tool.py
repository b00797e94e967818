"""What the tools that call `/v1/chat/completions` have in common: what they ask, and how a label becomes a score."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from taosr_she.domain.domain import Domain
from taosr_she.judge.judgement import Judgement
from taosr_she.serve.waiting import Answer


class Asked(NamedTuple):
    """What a tool's prompt asks, taken out of it again: the model gets the prompt of its own domain."""

    tool: str
    query: str
    documents: Sequence[Any]  # as `rows_of_documents` reads them
    content: Callable[[Domain, list[Answer]], str]  # the message that the tool reads


def height(domain: Domain, label: str) -> float:
    """Where a label is on the scale: 0 for the worst grade, 1 for the best."""
    return 1 - domain.codes.index(label) / (len(domain.codes) - 1)


def on_scale(domain: Domain, label: str, values: Sequence[float]) -> float:
    """The value of another scale at the height of the label; `values` in increasing order."""
    return values[round(height(domain, label) * (len(values) - 1))]


def explained(domain: Domain, judgement: Judgement) -> str:
    """The steps in one paragraph. Without steps, in mode `label`, the label with its probability."""
    said = [
        f"{spec.title}: {' '.join(text.split())}"
        for spec in domain.steps
        if spec.form != "label" and (text := judgement.steps.get(spec.key))
    ]
    grade = next(grade for grade in domain.labels if grade.code == judgement.label)
    probability = (judgement.probabilities or {}).get(grade.code)
    sure = "" if probability is None else f", probability {probability:.2f}"
    return ". ".join([*said, f"{grade.name} ({grade.code}){sure}"])
