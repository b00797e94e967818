"""Every question of a training: which are open, which were answered after how long, and what need not be asked."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from taosr_she.annotate.items import Item, digest_of
from taosr_she.domain.annotation import ABSTAINS, is_reference, normal_text
from taosr_she.domain.conclusions import canonical
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Annotation
from taosr_she.examine.hybrid import RIGHT

Place = tuple[str, str, str]
"""pair_id, step and text: normal for an answer, canonical for what is not asked twice."""


@dataclass
class Question:
    """One step of an item that was asked."""

    update: int  # after which
    item: str  # its digest
    verdict: float | None  # the GSRM's at that time, None if it had none
    state: str = "open"  # open | answered | withdrawn


class Ledger:
    """The questions, by the text that they are about."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._specs = {spec.key: spec for spec in domain.steps}
        self._questions: dict[Place, Question] = {}
        self._texts: dict[Place, Question] = {}  # by canonical text
        self._awaited: dict[tuple[str, str], Question] = {}  # by closed step of a pair

    @property
    def open(self) -> int:
        """Questions that wait for an answer."""
        return self._count("open")

    @property
    def open_items(self) -> tuple[str, ...]:
        """Items with a question that waits for an answer, by digest, oldest first."""
        return tuple(dict.fromkeys(q.item for q in self._questions.values() if q.state == "open"))

    @property
    def spent(self) -> int:
        """Questions that were asked, without those that were withdrawn."""
        return self._count("open") + self._count("answered")

    def ask(self, update: int, items: Iterable[Item]) -> None:
        """These items were asked after this update."""
        for item in items:
            for step in item.asked:
                text = item.text(self._domain.step_keys.index(step)) or ""
                question = Question(update, digest_of(item), item.examined.get(step))
                self._questions[item.pair.pair_id, step, normal_text(text)] = question
                self._texts[item.pair.pair_id, step, self._canonical(step, text)] = question
                if self._specs[step].kind == "closed":
                    self._awaited[item.pair.pair_id, step] = question

    def old(self, update: int, max_age: int) -> tuple[str, ...]:
        """Items with a question that has been open for as many updates."""
        aged = (q.item for q in self._questions.values() if q.state == "open" and update - q.update >= max_age)
        return tuple(dict.fromkeys(aged))

    def withdraw(self, items: Sequence[str]) -> int:
        """The open questions of these items are no more; returns how many they were."""
        gone = [q for q in self._questions.values() if q.state == "open" and q.item in items]
        for question in gone:
            question.state = "withdrawn"
        return len(gone)

    def answer(self, update: int, records: Iterable[Annotation]) -> Mapping[str, Any]:
        """People have said this before this update. Returns `answered`, `waited` (mean age of the answers in updates)
        and `changed` (verdicts that differ from the GSRM's)."""
        ages, changed = [], 0
        for record in records:
            question = self._questions.get((record.pair_id, record.step, normal_text(record.conclusion)))
            if is_reference(record) or question is None or question.state == "answered":
                continue
            question.state = "answered"
            ages.append(update - question.update)
            if question.verdict is not None and record.verdict not in ABSTAINS:
                changed += (record.verdict == "correct") != (question.verdict >= RIGHT)
        return {"answered": len(ages), "waited": sum(ages) / len(ages) if ages else None, "changed": changed}

    def has(self, pair_id: str, step: str, text: str) -> bool:
        """Whether this text need not be asked: it was, and not in vain, or an open question about the same closed step
        of the pair may say what is right there."""
        awaited = self._awaited.get((pair_id, step))
        if awaited is not None and awaited.state == "open":
            return True
        question = self._texts.get((pair_id, step, self._canonical(step, text)))
        return question is not None and question.state != "withdrawn"

    def _canonical(self, step: str, text: str) -> str:
        return canonical(self._domain, self._specs[step], text)

    def _count(self, state: str) -> int:
        return sum(question.state == state for question in self._questions.values())
