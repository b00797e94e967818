"""Exercises in comparing: made-up queries of which it is plain whether a product answers them.

A pretrained language model does not know that a label is about what query and product have in common, and a few
thousand labelled pairs are soon learnt by heart. These exercises cannot be: a query is made of words of the product's
own title (best grade), or of another product's, or of somebody's query that shares no word with the title (worst
grade). They are rough: a person might give another grade to words that name only the brand. So they are for learning
to compare, before the labelled pairs, and never a reference for examination or evaluation. The idea is the inverse
cloze task of dense retrieval (Lee et al., 1906.00300): a part of a text is the query for the rest.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from pydantic import Field

from taosr_she.base.config import Strict
from taosr_she.data.catalogue.queryner import read_marked
from taosr_she.data.split import near_query
from taosr_she.data.teachers.words import singular, words
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair

LENGTHS = (1, 2, 2, 3)
"""Numbers of words of a made-up query, drawn evenly."""
TRIES = 20
"""Draws until a query has no word in common with a title; then the exercise is left out."""


class MatchingConfig(Strict):
    """Exercises in comparing, with products of the training split."""

    count: int = Field(gt=0)
    """Number of exercises; every other one has the best grade."""
    queries: str | None = None
    """File of queries in QueryNER's layout (JSONL, also gzipped), half of the unrelated ones. Those of the scored
    splits, and near ones, are not used. Unset: all unrelated queries are words of other titles."""


def matching_exercises(
    domain: Domain, config: MatchingConfig, training: Sequence[Pair], scored: Iterable[Pair], seed: int
) -> list[Pair]:
    """Pairs `match-0`, `match-1`, ... with the best and the worst grade in turn; the same for the same arguments.

    Fewer than `count` if titles have no words, or all the same. UserError if the file of queries cannot be used.
    """
    real: list[str] = []
    if config.queries is not None:
        away = {near_query(pair.query) for pair in scored}
        found = dict.fromkeys(m.query for m in read_marked(Path(config.queries)))
        real = [query for query in found if near_query(query) not in away]
    named = [pair for pair in training if _title(pair)]
    rng, made = Random(f"matching {seed}"), []
    for n in range(config.count if named else 0):
        pair, related = rng.choice(named), n % 2 == 0
        query = _part(pair, rng) if related else _unrelated(pair, named, real, rng)
        if query is not None:
            label = domain.codes[0 if related else -1]
            key = f"match-{n}"
            made.append(replace(pair, pair_id=key, query_id=key, query=query, label=label, tags=(), extra={}))
    return made


def _unrelated(pair: Pair, named: Sequence[Pair], real: Sequence[str], rng: Random) -> str | None:
    own = set(map(singular, words(pair.product.title)))
    for _ in range(TRIES):
        query = rng.choice(real) if real and rng.random() < 0.5 else _part(rng.choice(named), rng)
        if own.isdisjoint(map(singular, words(query))):
            return query
    return None


def _part(pair: Pair, rng: Random) -> str:
    """Consecutive words of the title."""
    title = _title(pair)
    length = min(len(title), rng.choice(LENGTHS))
    start = rng.randrange(len(title) - length + 1)
    return " ".join(title[start : start + length])


def _title(pair: Pair) -> list[str]:
    """Words of the title without numbers and codes, of which few real queries are made."""
    return [word for word in words(pair.product.title) if not any(map(str.isdigit, word))]
