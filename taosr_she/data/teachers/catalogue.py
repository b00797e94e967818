"""The catalogue teacher: typed steps for real pairs, from people's annotations of queries and from the catalogue.

It separates what is known (with its source) from what it only writes. A *reference* contains only what is known; steps
are examined with it. A *demonstration* has text for every step, which is a guess if nothing is known.

- query: known if people annotated this query; else the tagger's output.
- category: known if the catalogue's type or the title decides it; else a guess from label and title, or from query and
  title alone (`guess`).
- attributes: known if every requirement of the query is known and the catalogue decides each; else `match` for the best
  grade and `unstated` for the others, or `unstated` whatever the grade (`guess`).
- label: the label by people.

`taught` of a demonstration names the known steps. The recipe chooses whether guesses are trained on as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from taosr_she.base.errors import UserError
from taosr_she.data.catalogue.category import category_by_words, decide_category, likely_category, wanted
from taosr_she.data.catalogue.decide import CONFLICT, MATCH, UNSTATED, Catalogue, Offer, decide
from taosr_she.data.catalogue.reader import Reader
from taosr_she.data.catalogue.requirement import (
    NOTHING,
    PRODUCT_TYPE,
    Reading,
    Requirement,
    by_people,
    conclusion,
    is_known,
)
from taosr_she.data.demonstration import Demonstration
from taosr_she.domain.conclusions import UNKNOWN
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import render_response

TEACHER = "catalogue"
QUERY, CATEGORY, ATTRIBUTES, LABEL = "query", "category", "attributes", "label"


@dataclass(frozen=True)
class CatalogueTeacher:
    """Writes the demonstrations and references of pairs, always the same for the same pair.

    >>> teacher = CatalogueTeacher(domain, reader, catalogue)       # doctest: +SKIP
    >>> teacher.demonstration(pair).response                        # doctest: +SKIP
    """

    domain: Domain
    reader: Reader
    catalogue: Catalogue
    guess: Literal["label", "words"] = "label"
    """What steps that nobody knows are guessed from, in demonstrations."""

    def references(self, pair: Pair) -> dict[str, str]:
        """Step key -> what a program knows about the category and attribute steps. Parts of attributes may be `?`."""
        reading, offer = self._see(pair)
        found = {CATEGORY: self._category(reading, offer), ATTRIBUTES: self._attributes(reading, offer)}
        return {key: text for key, text in found.items() if text is not None}

    def demonstration(self, pair: Pair) -> Demonstration:
        """A response with text for every step; `taught` names those that are known. UserError without a label."""
        grade = next((g for g in self.domain.labels if g.code == pair.label), None)
        if grade is None:
            raise UserError(
                f"pair '{pair.pair_id}' has the label {pair.label!r}, but the catalogue teacher needs one of "
                f"{', '.join(self.domain.codes)}; label the pair or leave it out"
            )
        reading, offer = self._see(pair)
        known = {CATEGORY: self._category(reading, offer), ATTRIBUTES: self._attributes(reading, offer)}
        if UNKNOWN in (known[ATTRIBUTES] or UNKNOWN):
            known[ATTRIBUTES] = None
        best = self.guess == "label" and grade is self.domain.labels[0]
        unseen = grade.category if self.guess == "label" else category_by_words(pair.query, reading, offer)
        steps = {
            QUERY: conclusion(self.domain, reading),
            CATEGORY: known[CATEGORY] or (None if best else likely_category(reading, offer)) or unseen,
            ATTRIBUTES: known[ATTRIBUTES] or self._guess(reading, offer, best),
            LABEL: grade.code,
        }
        taught = [key for key, text in known.items() if text is not None]
        taught = [*([QUERY] if by_people(reading) else []), *taught, LABEL]
        return Demonstration(pair.pair_id, render_response(self.domain, steps), TEACHER, taught=tuple(taught))

    def exercise(self, pair: Pair) -> Demonstration | None:
        """The query step alone, for a pair whose query people annotated; None for any other."""
        reading = self.reader.read(pair.query)
        if not by_people(reading):
            return None
        return Demonstration(pair.pair_id, f"[{QUERY}] {conclusion(self.domain, reading)}", TEACHER, taught=(QUERY,))

    def verdicts(self, pair: Pair) -> list[tuple[Requirement, str | None]]:
        """Every requirement except the product type, with the verdict of the catalogue; None if it is undecided."""
        reading, offer = self._see(pair)
        return [(r, self._decide(r, reading, offer)) for r in reading if r.kind != PRODUCT_TYPE]

    def _see(self, pair: Pair) -> tuple[Reading, Offer]:
        return self.reader.read(pair.query), Offer(pair.product, self.catalogue.spec)

    def _decide(self, asked: Requirement, reading: Reading, offer: Offer) -> str | None:
        if asked.by == "guess":
            return None
        found = decide(asked, offer, self.catalogue)
        # In a query that is not completely understood, a color may be part of a name: "great white mycorrhizae".
        return None if asked.kind == "color" and found != MATCH and not is_known(reading) else found

    def _category(self, reading: Reading, offer: Offer) -> str | None:
        if not wanted(reading) or any(r.by == "guess" for r in reading if r.kind in (PRODUCT_TYPE, "model")):
            return None
        return decide_category(reading, offer)

    def _attributes(self, reading: Reading, offer: Offer) -> str | None:
        """The reference, with `?` for the unknown; None if it would be empty."""
        found: dict[str, list[str | None]] = {}
        for asked in reading:
            if asked.kind != PRODUCT_TYPE and asked.by != "guess":
                found.setdefault(asked.kind, []).append(self._decide(asked, reading, offer))
        fields = {kind: _together(verdicts) for kind, verdicts in found.items()}
        whole = is_known(reading)
        if not any(fields.values()) and not (whole and not fields):
            return None
        text = self._written({kind: verdict or UNKNOWN for kind, verdict in fields.items()})
        return text if whole else f"{text}; {UNKNOWN}"

    def _guess(self, reading: Reading, offer: Offer, best: bool) -> str:
        found: dict[str, list[str | None]] = {}
        for asked in reading:
            if asked.kind != PRODUCT_TYPE:
                said = decide(asked, offer, self.catalogue) or (MATCH if best else UNSTATED)
                found.setdefault(asked.kind, []).append(said)
        return self._written({kind: _together(verdicts) or UNSTATED for kind, verdicts in found.items()})

    def _written(self, fields: dict[str, str]) -> str:
        """Fields in the order of the domain."""
        spec = next(s for s in self.domain.steps if s.key == ATTRIBUTES)
        return "; ".join(f"{key}: {fields[key]}" for key in spec.keys if key in fields) or NOTHING


def _together(verdicts: Sequence[str | None]) -> str | None:
    """One verdict for several requirements of a kind: a conflict decides; else all must be known."""
    if CONFLICT in verdicts:
        return CONFLICT
    if None in verdicts:
        return None
    return MATCH if all(v == MATCH for v in verdicts) else UNSTATED


def check_typed_steps(domain: Domain) -> None:
    """Raises UserError if the domain has other steps than this teacher writes."""
    specs = {step.key: step for step in domain.steps}
    fits = (
        domain.step_keys == (QUERY, CATEGORY, ATTRIBUTES, LABEL)
        and specs[QUERY].form == specs[ATTRIBUTES].form == "fields"
        and set(specs[QUERY].keys) == {*specs[ATTRIBUTES].keys, PRODUCT_TYPE}
        and set(specs[ATTRIBUTES].choices) >= {MATCH, CONFLICT, UNSTATED}
        and all(grade.category in specs[CATEGORY].choices for grade in domain.labels)
        and domain.catalogue is not None
    )
    if not fits:
        raise UserError(
            f"domain '{domain.name}': the catalogue teacher writes the steps of 'chorus' and 'esci-typed' (query, "
            "category, attributes, label, the first and third with keys, a category for every label, and a section "
            "`catalogue`); use such a domain or another teacher"
        )
