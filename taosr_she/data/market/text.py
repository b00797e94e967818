"""The texts of shoppers and sellers, with synonyms, misspellings and advertising."""

from dataclasses import dataclass
from random import Random

from taosr_she.data.market.lexicon import ACCESSORY_DEPARTMENT, BRANDS, KNOWLEDGE, NEEDS, NOISE, SPELLINGS
from taosr_she.data.market.reasoning import Ask, Constraint, Goods
from taosr_she.data.misspell import misspell
from taosr_she.domain.pair import Product

_QUESTIONS = ("what {} should i buy", "which {} is best", "where to get {}", "can you show me {}")
_KNOWLEDGE_WORD = {material: word for word, material in KNOWLEDGE.items()}


@dataclass(frozen=True)
class Wording:
    """How a query is worded."""

    synonym_share: float = 0.25  # chance of a synonym instead of the canonical word
    unseen: bool = False  # use only spellings and needs that never occur in training (robustness slice)
    question: bool = False
    misspelled: bool = False


def write_query(rng: Random, ask: Ask, wording: Wording) -> str:
    """The query text: modifiers before the kind, clauses after it, possibly as a question or with a typing error."""
    before: list[str] = []
    after: list[str] = []
    for constraint in ask.constraints:
        words = _constraint_words(rng, constraint, wording)
        clause = constraint.origin in ("negation", "need", "budget")
        (after if clause else before).append(words)
    rng.shuffle(before)
    rng.shuffle(after)
    query = " ".join([*before, _spell(rng, ask.kind, wording), *after])
    if wording.question:
        query = rng.choice(_QUESTIONS).format(query)
    return misspell(rng, query) if wording.misspelled else query


def _constraint_words(rng: Random, constraint: Constraint, wording: Wording) -> str:
    value = constraint.values[0]
    if constraint.key == "price":
        return rng.choice(("under", "below", "at most", "max")) + f" {value}"
    if constraint.key == "brand":
        return value
    if constraint.origin == "knowledge":
        return _KNOWLEDGE_WORD[value]
    if constraint.origin == "need":
        return NEEDS[value][2] if wording.unseen else rng.choice(NEEDS[value][:2])
    words = " or ".join(_spell(rng, v, wording) for v in constraint.values)
    return rng.choice(("not", "without", "no")) + f" {words}" if constraint.negated else words


def _spell(rng: Random, word: str, wording: Wording) -> str:
    canonical, seen, unseen = SPELLINGS[word]
    if wording.unseen:
        return unseen
    return seen if rng.random() < wording.synonym_share else canonical


def write_product(rng: Random, goods: Goods, synonym_share: float = 0.25) -> tuple[Product, str | None]:
    """The product page, and the other brand its title compares itself with (a trap), if any.

    Each stated attribute is either in the title or in the attribute list; brands are always in the title.
    """
    wording = Wording(synonym_share=synonym_share)
    title, listed = [], {}
    for key, value in goods.values:
        if key == "brand":
            title.append(value)
        elif rng.random() < 0.6:
            title.append(_spell(rng, value, wording))
        else:
            listed[key] = _spell(rng, value, wording)
    title.append(_spell(rng, goods.kind, wording) if goods.kind in SPELLINGS else goods.kind)
    if goods.kind in ACCESSORY_DEPARTMENT:
        title.append("for " + rng.choice(ACCESSORY_DEPARTMENT[goods.kind].kinds)[0])
    rival = None
    if rng.random() < 0.1:
        own = (goods.get("brand") or "").split()[:1]
        rival = rng.choice([b for b in BRANDS if b not in own])
        title.append(f"like {rival}")
    if rng.random() < 0.5:
        title.insert(rng.choice((0, len(title))), rng.choice(NOISE))
    return Product(title=" ".join(title), price=float(goods.price), attributes=listed), rival
