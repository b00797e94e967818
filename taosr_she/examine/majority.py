"""The majority of several annotators: one vote each; more than half of those with a verdict decide, else unknown.

An annotator's vote is their latest one (by `time`, then by order). `unsure` and `cannot_tell` are abstentions, which
count neither way. People outrank programs: if any person has a verdict, annotators named `machine:...` have no vote. A
lead who settles a disagreement outranks everybody: if there are votes by `settled:...`, only they count.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from taosr_she.domain.annotation import ABSTAINS, is_reference, normal_text, strict_majority
from taosr_she.domain.conclusions import canonical
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Annotation

MACHINE = "machine:"
"""Annotators with this prefix are programs."""
SETTLED = "settled:"
"""Records with this prefix are decisions of a lead who has read what the annotators said."""

Place = TypeVar("Place", bound=Hashable)
StepPlace = tuple[str, str]  # pair_id, step
TextPlace = tuple[str, str, str]  # pair_id, step, normal text


@dataclass(frozen=True, slots=True)
class Opinion:
    """The decision of the annotators. `value` is None if it is unknown: a tie, no majority, or all are unsure."""

    value: str | None  # for references the canonical conclusion, for verdicts "correct" or "wrong"
    voices: int  # annotators with a vote
    machine: bool  # the votes are those of programs


def majority_references(domain: Domain, annotations: Iterable[Annotation]) -> dict[StepPlace, Opinion]:
    """The conclusion of each closed step (pair_id, step); references with the same canonical conclusion agree."""
    specs = {spec.key: spec for spec in domain.steps if spec.kind == "closed"}
    references = (a for a in annotations if is_reference(a) and a.step in specs)
    return _opinions(
        references, lambda a: (a.pair_id, a.step), lambda a: canonical(domain, specs[a.step], a.conclusion)
    )


def majority_verdicts(annotations: Iterable[Annotation]) -> dict[TextPlace, Opinion]:
    """Whether each judged text (pair_id, step, normal text) is "correct" or "wrong"."""
    verdicts = (a for a in annotations if not is_reference(a))
    return _opinions(verdicts, lambda a: (a.pair_id, a.step, normal_text(a.conclusion)), lambda a: a.verdict)


def decided(domain: Domain, annotations: Iterable[Annotation]) -> dict[str, tuple[int, int]]:
    """Step -> (references and judged texts that a majority decides, those that stay unknown: ties and abstentions), in
    schema order; steps about which nobody spoke are left out."""
    listed = list(annotations)
    opinions: list[tuple[str, Opinion]] = [
        *((step, opinion) for (_, step), opinion in majority_references(domain, listed).items()),
        *((step, opinion) for (_, step, _), opinion in majority_verdicts(listed).items()),
    ]
    found = {}
    for key in domain.step_keys:
        of_step = [opinion.value is not None for step, opinion in opinions if step == key]
        if of_step:
            found[key] = (sum(of_step), len(of_step) - sum(of_step))
    return found


def voices(
    annotations: Iterable[Annotation], place: Callable[[Annotation], Place]
) -> dict[Place, dict[str, Annotation]]:
    """place -> annotator -> their latest record for it."""
    latest: dict[Place, dict[str, Annotation]] = {}
    for a in annotations:
        said = latest.setdefault(place(a), {})
        if a.annotator not in said or a.time >= said[a.annotator].time:
            said[a.annotator] = a
    return latest


def _opinions(
    annotations: Iterable[Annotation], place: Callable[[Annotation], Place], value: Callable[[Annotation], str]
) -> dict[Place, Opinion]:
    return {where: _opinion(list(said.values()), value) for where, said in voices(annotations, place).items()}


def _opinion(said: list[Annotation], value: Callable[[Annotation], str]) -> Opinion:
    sure = [a for a in said if a.verdict not in ABSTAINS]
    people = [a for a in sure if not a.annotator.startswith(MACHINE)]
    settled = [a for a in people if a.annotator.startswith(SETTLED)]
    heard = settled or people or sure
    return Opinion(strict_majority([value(a) for a in heard]), len(heard), machine=bool(heard) and not people)
