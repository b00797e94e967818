"""Typed steps for the pairs of a data stage: people's annotations of queries, the catalogue teacher, and exercises."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Literal

from pydantic import Field

from taosr_she.base.config import Strict
from taosr_she.data.catalogue.decide import VERDICTS, Catalogue
from taosr_she.data.catalogue.queryner import MarkedQuery, read_marked, reading_annotations
from taosr_she.data.catalogue.reader import Reader
from taosr_she.data.demonstration import Demonstration
from taosr_she.data.rows import normal_query
from taosr_she.data.split import near_query
from taosr_she.data.teachers.catalogue import CatalogueTeacher
from taosr_she.domain.conclusions import UNKNOWN
from taosr_she.domain.domain import CatalogueSpec, Domain
from taosr_she.domain.pair import Annotation, Pair


class TypedConfig(Strict):
    """People's annotations of queries, and their use."""

    later: ClassVar[dict[str, Any]] = {"guess": "label"}
    queries: str
    """File of annotated queries in QueryNER's layout (JSONL, also gzipped)."""
    exercises: int = Field(default=10000, ge=0)
    """Maximum number of annotated queries that are exercises for the query step alone, each with a random training
    product. Queries of the scored splits, and near ones, are never used."""
    untold: Literal["teach", "mask"] = "teach"
    """Unknown steps of demonstrations: `teach` lets SFT learn the teacher's guess, so that responses are well formed;
    `mask` keeps the guess in the text but out of the loss. A guess is never a reference."""
    guess: Literal["label", "words"] = "label"
    """What such a guess is made from: `label`, from the pair's label first, so that the chain always fits it; `words`,
    from query, title and attributes alone. A guess from the label tells the model the label that it is to learn, which
    it does not know when it judges."""


@dataclass(frozen=True)
class TypedPairs:
    """The teacher of a data stage, with the annotated queries."""

    domain: Domain
    config: TypedConfig
    marked: tuple[MarkedQuery, ...]
    teacher: CatalogueTeacher
    exercises: tuple[Pair, ...]

    @classmethod
    def of(
        cls, domain: Domain, config: TypedConfig, pairs: Sequence[Pair], splits: Mapping[str, Sequence[Pair]], seed: int
    ) -> "TypedPairs":
        """Reads the annotated queries. Those of the development and test splits are not learnt from."""
        marked = tuple(read_marked(Path(config.queries)))
        scored = {near_query(p.query) for name in ("development", "test") for p in splits.get(name, ())}
        held_out = {normal_query(m.query) for m in marked if near_query(m.query) in scored}
        catalogue = Catalogue.of(domain.catalogue or CatalogueSpec(), [pair.product for pair in pairs])
        reader = Reader(domain, marked, catalogue, held_out, seed)
        teacher = CatalogueTeacher(domain, reader, catalogue, config.guess)
        training = splits["training"]
        taken = held_out | {normal_query(pair.query) for pair in training}
        free = {normal_query(m.query): m for m in marked if normal_query(m.query) not in taken}
        rng = Random(f"exercises {seed}")
        chosen = rng.sample(list(free.values()), min(config.exercises, len(free))) if training else []
        drawn = (
            Pair(f"query-{m.key}", m.key, m.query, rng.choice(training).product, locale=training[0].locale)
            for m in chosen
        )
        return cls(domain, config, marked, teacher, tuple(p for p in drawn if teacher.exercise(p) is not None))

    def demonstrations(self, pairs: Sequence[Pair]) -> list[Demonstration]:
        """A response with every step for each pair."""
        shown = [self.teacher.demonstration(pair) for pair in pairs]
        return [replace(d, taught=None) for d in shown] if self.config.untold == "teach" else shown

    def exercises_shown(self) -> list[Demonstration]:
        """The query step alone, for each exercise."""
        return [d for pair in self.exercises if (d := self.teacher.exercise(pair)) is not None]

    def references(self, pair: Pair) -> dict[str, str]:
        """Step key -> the conclusion that the program knows."""
        return self.teacher.references(pair)

    def said_of(self, pairs: Sequence[Pair]) -> list[Annotation]:
        """People's annotations of the queries of these pairs."""
        return list(reading_annotations(self.domain, self.marked, pairs))

    def summary(self, splits: Mapping[str, Sequence[Pair]]) -> Iterator[str]:
        """Lines that report how much is known in each split."""
        for name in ("training", "development", "test"):
            pairs = splits[name]
            query = sum(normal_query(p.query) in self.teacher.reader.people for p in pairs)
            found = [self.teacher.references(p) for p in pairs]
            category = sum("category" in f for f in found)
            whole = sum(UNKNOWN not in f["attributes"] for f in found if "attributes" in f)
            part = sum("attributes" in f for f in found) - whole
            yield (
                f"{name}: known steps of {len(pairs)} pairs: query {query} (by people), category {category}, "
                f"attributes {whole} and in part {part} more (by the program)"
            )
        yield f"exercises for the query step: {len(self.exercises)}"
        yield from self._by_kind([pair for name in ("training", "development", "test") for pair in splits[name]])

    def _by_kind(self, pairs: Sequence[Pair]) -> Iterator[str]:
        """For every kind of requirement: their number, and how many the catalogue decides."""
        verdicts = [item for pair in pairs for item in self.teacher.verdicts(pair)]
        asked = Counter(r.kind for r, _ in verdicts)
        guessed = Counter(r.kind for r, _ in verdicts if r.by == "guess")
        for kind, n in asked.most_common():
            decided = Counter(found for r, found in verdicts if r.kind == kind and found is not None)
            counts = ", ".join(f"{verdict} {decided[verdict]}" for verdict in VERDICTS if decided[verdict])
            yield (
                f"{kind}: {n} requirements, the catalogue decides {decided.total() / n:.0%}"
                + (f" ({counts})" if counts else "")
                + f"; {guessed[kind] / n:.0%} are guesses"
            )
