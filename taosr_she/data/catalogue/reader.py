"""The requirements of a query and the source of each: people if they annotated the query, else the tagger."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache

from taosr_she.data.catalogue.colors import only_plain
from taosr_she.data.catalogue.decide import Catalogue, folded, joined
from taosr_she.data.catalogue.quantities import quantities
from taosr_she.data.catalogue.queryner import MarkedQuery, readings_by_people, requirements
from taosr_she.data.catalogue.requirement import PRODUCT_TYPE, Known, Reading, Requirement
from taosr_she.data.catalogue.tagger import Tagger
from taosr_she.data.rows import normal_query
from taosr_she.domain.domain import Domain

LEAST, SHARE = 3, 0.9
"""Words are known by usage if people annotated them as one kind in at least this share of this many queries."""


class Reader:
    """Reads queries. An annotation by people counts as a whole; in others each requirement has its own source."""

    def __init__(
        self,
        domain: Domain,
        marked: Sequence[MarkedQuery],
        catalogue: Catalogue,
        held_out: Collection[str] = (),
        seed: int = 0,
    ) -> None:
        """From the normal queries `held_out`, which are scored, people's annotations are read but not learnt from."""
        self.people = readings_by_people(domain, marked)
        self.catalogue = catalogue
        self.usage = _usage(reading for query, reading in self.people.items() if query not in held_out)
        allowed = [m for m in marked if normal_query(m.query) not in held_out]
        examples = [(m.tokens, tags) for m in allowed for tags in m.tags.values() if requirements(m.tokens, tags)]
        self._tagger = Tagger(examples, seed)
        self.read = lru_cache(maxsize=65536)(self._read)

    def _read(self, query: str) -> Reading:
        """The requirements of the query; `by` is the source of each."""
        known = self.people.get(normal_query(query))
        if known is not None:
            return known
        tokens = query.split()
        found = requirements(tokens, self._tagger.tag(tokens)) or ()
        return tuple(Requirement(r.kind, r.text, self._source(r)) for r in found)

    def _source(self, r: Requirement) -> Known:
        catalogue = (
            (r.kind == "brand" and joined(r.text) in self.catalogue.brands)
            or (r.kind == PRODUCT_TYPE and folded(r.text) in self.catalogue.kinds)
            or (r.kind == "color" and only_plain(r.text))
            or (r.kind in ("size", "quantity") and len(quantities(r.text)) == 1)
        )
        if catalogue:
            return "catalogue"
        return "usage" if (r.kind, folded(r.text)) in self.usage else "guess"


def _usage(readings: Iterable[Reading]) -> frozenset[tuple[str, str]]:
    """Kinds that the words always have in annotations. "Label printer" also shows that a printer is a product type."""
    counts: Counter[tuple[str, str]] = Counter()
    for r in (r for reading in readings for r in reading):
        text = folded(r.text)
        counts[r.kind, text] += 1
        if r.kind == PRODUCT_TYPE and " " in text:
            counts[r.kind, text.rpartition(" ")[2]] += 1
    totals: Counter[str] = Counter()
    for (_, text), n in counts.items():
        totals[text] += n
    return frozenset(key for key, n in counts.items() if totals[key[1]] >= LEAST and n >= SHARE * totals[key[1]])
