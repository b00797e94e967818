"""The lexical teacher: stepwise demonstrations for real labelled pairs, by comparing words.

Its steps state facts about spelling, found by a program: which words of the query occur in the text of the product. It
has no knowledge of the world, of synonyms or of negation ("without hose" asks for the words `without` and `hose`). Only
the label comes from people, and it is copied: the steps do not always lead to it. Step scores against
`lexical_reference` therefore measure whether a model reads the words, not whether people agree with its reasoning.

Made for domains with the steps of `esci` and `wands`.
"""

from dataclasses import dataclass

from taosr_she.base.errors import UserError
from taosr_she.data.demonstration import Demonstration
from taosr_she.data.teachers.words import Vocabulary, is_spanish, terms, words
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.prompt import neutralise
from taosr_she.domain.response import render_response

TEACHER = "lexical"
MAX_TERMS = 8
"""Maximum number of query terms used; with it a demonstration stays under about 60 words."""
TITLE_WORDS = 6
"""Maximum number of title words used to describe the product."""
NOTHING = "none"
"""Conclusion of a step without content (a query that is only emoji, a product that shares no word)."""

_STEPS = {"query", "product", "category", "attributes", "label"}
_CATEGORY = {"same", "part", "none"}
_ATTRIBUTES = {"match", "missing"}

# What comes after these is not what is asked but what it is for: "liners for air fryer", "funda para movil".
_HEAD_ENDS = {
    "for", "with", "without", "of", "in", "to", "from", "no", "not", "para", "con", "sin", "de", "del",
}  # fmt: skip
# Words for the intended person, which are not the head: "bufandas hombre", "costume women".
_AUDIENCE = {
    "men", "mens", "man", "women", "womens", "woman", "kids", "kid", "boys", "boy", "girls", "girl", "baby", "adult",
    "adults", "teen", "teens", "toddler", "hombre", "hombres", "mujer", "mujeres", "niño", "niña", "niños", "niñas",
    "bebe", "bebé",
}  # fmt: skip


def lexical_demonstration(domain: Domain, pair: Pair) -> Demonstration:
    """The demonstration of a labelled pair: well formed for any text, and deterministic.

    Raises UserError if the pair has no label on the domain's scale, or the domain has other steps.
    """
    label = None if pair.label is None else domain.parse_label(pair.label)
    if label is None:
        raise UserError(
            f"pair '{pair.pair_id}' has the label {pair.label!r}, but the lexical teacher needs one of "
            f"{', '.join(domain.codes)}; label the pair or leave it out"
        )
    return Demonstration(pair.pair_id, render_response(domain, _conclusions(domain, pair) | {"label": label}), TEACHER)


def lexical_reference(domain: Domain, pair: Pair) -> dict[str, str]:
    """The reference conclusion of every step except the label, by step key, as found by comparing words.

    Annotations made from it must name a machine as their annotator. Raises UserError if the domain has other steps.
    """
    return _conclusions(domain, pair)


@dataclass(frozen=True)
class _Reading:
    """The part of a pair that the prompt shows, as words. No more than that: the model cannot see anything else."""

    terms: list[str]
    head: str | None  # of the terms, the one that names the kind of product
    title: list[str]
    kind: Vocabulary  # title and category
    everything: Vocabulary  # these, brand and attribute values


def _conclusions(domain: Domain, pair: Pair) -> dict[str, str]:
    check_steps(domain)
    seen = _read(domain, pair)
    hits = {term: seen.everything.find(term) for term in seen.terms}
    speaking = dict.fromkeys(word for word in hits.values() if word)
    same = seen.head is not None and seen.kind.find(seen.head) is not None
    category = "same" if same else "part" if speaking else "none"
    return {
        "query": " ".join(seen.terms) or NOTHING,
        "product": f"{' '.join(speaking) or NOTHING}; {' '.join(seen.title) or NOTHING}",
        "category": category,
        "attributes": "; ".join(f"{term}: {'match' if word else 'missing'}" for term, word in hits.items()) or NOTHING,
    }


def _read(domain: Domain, pair: Pair) -> _Reading:
    query = _cut(pair.query, domain.prompt.max_query_chars)
    asked = terms(query, pair.locale, MAX_TERMS)
    shown = {field.name: _cut(_text(pair.product, field.name), field.max_chars) for field in domain.prompt.read_fields}
    title = shown.get("title", "")
    kind = f"{title} ; {shown.get('category', '')}"
    return _Reading(
        terms=asked,
        head=_head(words(query), asked, pair.locale),
        title=terms(title, pair.locale, TITLE_WORDS),
        kind=Vocabulary(kind),
        everything=Vocabulary(f"{kind} ; {shown.get('brand', '')} ; {shown.get('attributes', '')}"),
    )


def _text(product: Product, field: str) -> str:
    if field == "attributes":
        return " ; ".join(product.attributes.values())  # the names ("color") say nothing about this product
    return str(getattr(product, field)) if field in ("title", "category", "brand") else ""


def _cut(text: str, most: int) -> str:
    return neutralise(text[: 4 * most])[:most]  # as the prompt does


def _head(query: list[str], asked: list[str], locale: str) -> str | None:
    """The term that names what is asked: the last one before a preposition; in Spanish the first.

    Measures and words for the intended person are not the head, unless the query has no other word.
    """
    end = next((i for i, word in enumerate(query) if i and word in _HEAD_ENDS), len(query))
    heads = [t for t in asked if t in query[:end]] or asked
    heads = [t for t in heads if not t[0].isdigit() and t not in _AUDIENCE] or heads
    if not heads:
        return None
    return heads[0] if is_spanish(locale) else heads[-1]


def check_steps(domain: Domain) -> None:
    """Raises UserError if the domain has other steps than this teacher writes."""
    specs = {step.key: step for step in domain.steps}
    fits = (
        set(specs) == _STEPS
        and specs["query"].form == specs["product"].form == "text"
        and specs["category"].form == "choice"
        and set(specs["category"].choices) >= _CATEGORY
        and specs["attributes"].form == "fields"
        and (not specs["attributes"].choices or set(specs["attributes"].choices) >= _ATTRIBUTES)
    )
    if not fits:
        raise UserError(
            f"domain '{domain.name}': the lexical teacher writes the steps of 'esci' and 'wands' (query, product, "
            "category: same|part|none, attributes: match|missing, label); use such a domain or another teacher"
        )
