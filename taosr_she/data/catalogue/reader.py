"""What a query asks for: what people say where they have read it, elsewhere the tagger, and who knows each piece."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache

from taosr_she.data.catalogue.colors import only_plain
from taosr_she.data.catalogue.decide import joined
from taosr_she.data.catalogue.quantities import quantities
from taosr_she.data.catalogue.queryner import MarkedQuery, readings_by_people, requirements
from taosr_she.data.catalogue.requirement import Known, Reading, Requirement
from taosr_she.data.catalogue.tagger import Tagger
from taosr_she.data.rows import normal_query
from taosr_she.data.teachers.words import forms, words
from taosr_she.domain.domain import Domain

LEAST, SHARE = 3, 0.9
"""Words are known by usage when people have read them as one kind in this share of this many queries at least."""


class Reader:
    """Reads queries. People's reading of a query counts whole; of other queries each piece has its own source."""

    def __init__(
        self,
        domain: Domain,
        marked: Sequence[MarkedQuery],
        brands: Collection[str],
        held_out: Collection[str] = (),
        seed: int = 0,
    ) -> None:
        """`brands` are `joined` names. Of the normal queries `held_out`, which are to be scored, people's readings are
        read, and nothing is learnt."""
        self.people = readings_by_people(domain, marked)
        self.brands = frozenset(brands)
        self.usage = _usage(reading for query, reading in self.people.items() if query not in held_out)
        allowed = [m for m in marked if normal_query(m.query) not in held_out]
        examples = [(m.tokens, tags) for m in allowed for tags in m.tags.values() if requirements(m.tokens, tags)]
        self._tagger = Tagger(examples, seed)
        self.read = lru_cache(maxsize=65536)(self._read)

    def _read(self, query: str) -> Reading:
        """What the query asks for; `by` says of every piece who knows it."""
        known = self.people.get(normal_query(query))
        if known is not None:
            return known
        tokens = query.split()
        found = requirements(tokens, self._tagger.tag(tokens)) or ()
        return tuple(Requirement(r.kind, r.text, self._source(r)) for r in found)

    def _source(self, r: Requirement) -> Known:
        catalogue = (
            (r.kind == "brand" and joined(r.text) in self.brands)
            or (r.kind == "color" and only_plain(r.text))
            or (r.kind in ("size", "quantity") and len(quantities(r.text)) == 1)
        )
        if catalogue:
            return "catalogue"
        return "usage" if (r.kind, _folded(r.text)) in self.usage else "guess"


def _usage(readings: Iterable[Reading]) -> frozenset[tuple[str, str]]:
    counts = Counter((r.kind, _folded(r.text)) for reading in readings for r in reading)
    totals: Counter[str] = Counter()
    for (_, text), n in counts.items():
        totals[text] += n
    return frozenset(key for key, n in counts.items() if totals[key[1]] >= LEAST and n >= SHARE * totals[key[1]])


def _folded(text: str) -> str:
    """Without plurals and accents."""
    return " ".join(min(forms(word), key=lambda form: (len(form), form)) for word in words(text))
