"""Splits by query: the pairs that a model is tested on share no query with those it was trained on."""

import math
from collections import Counter
from collections.abc import Sequence

from taosr_she.base.errors import UserError
from taosr_she.data.fingerprint import fingerprint_config
from taosr_she.data.rows import normal_query, plain_query
from taosr_she.data.teachers.words import singular, words
from taosr_she.domain.pair import Pair

FEW = 500
"""With fewer queries than this, random assignment would miss the shares by too much, so the cuts are fitted."""


def near_query(query: str) -> str:
    """Equal for queries that differ only slightly: in plurals, accents, punctuation, or words written together.

    >>> near_query("Smart Watches") == near_query("smartwatch")
    True
    """
    return "".join(map(singular, words(query)))


def split_by_query(
    pairs: Sequence[Pair], fractions: dict[str, float], seed: int, near: bool = False
) -> dict[str, list[Pair]]:
    """Split name -> its pairs, in the given order.

    Pairs stay together if they have the same `query_id`, or if the prompt shows the same query but for case; with
    `near`, also if `near_query` is the same. Seed and text map every query to a point between 0 and 1, and the shares
    divide this interval. From FEW queries on, it is divided exactly at the shares: they hold on average, and new pairs
    move no other query. With fewer queries, the cuts are placed where the numbers of pairs come closest to the shares,
    and each split gets a query if there are enough. New pairs can then move the queries next to a cut. UserError unless
    the shares are not negative and sum to 1.
    """
    if not fractions or any(not f >= 0 for f in fractions.values()) or not math.isclose(sum(fractions.values()), 1):
        raise UserError(f"split: the shares must not be negative and must sum to 1, not {fractions}")
    homes = _homes(pairs, near)
    sizes = Counter(homes[normal_query(pair.query)] for pair in pairs)
    points = _points(pairs, homes, seed)
    if len(sizes) < FEW:
        chosen = _cut(sorted(sizes, key=lambda home: (points[home], home)), sizes, fractions)
    else:
        chosen = {home: _choose(points[home], fractions) for home in sizes}
    splits: dict[str, list[Pair]] = {name: [] for name in fractions}
    for pair in pairs:
        splits[chosen[homes[normal_query(pair.query)]]].append(pair)
    return splits


def count_queries(pairs: Sequence[Pair]) -> int:
    """Number of queries, by the same definition of a query as in splits."""
    return len(set(_homes(pairs).values()))


def fold_by_query(
    pairs: Sequence[Pair], number: int, of: int, split: dict[str, float], seed: int, near: bool = False
) -> dict[str, list[Pair]]:
    """The same three splits for fold `number` (from 0) of `of`: every pair is in the test split of one fold.

    The other folds are divided into training and development by their shares in `split`.
    """
    folds = split_by_query(pairs, {str(n): 1 / of for n in range(of)}, seed, near)
    test = folds[str(number)]
    tested = {id(pair) for pair in test}
    rest = [pair for pair in pairs if id(pair) not in tested]
    shares = {name: split.get(name, 0.0) for name in ("training", "development")}
    fractions = {name: share / sum(shares.values()) for name, share in shares.items()}
    # Each fold has its own seed; otherwise, the queries next to a cut would be development queries in all folds.
    return split_by_query(rest, fractions, seed + 1 + number, near) | {"test": test}


def _homes(pairs: Sequence[Pair], near: bool = False) -> dict[str, str]:
    """Normal query -> its representative: the smallest normal query of those linked to it by a shared id, or itself."""
    home: dict[str, str] = {}
    first_of_id: dict[str, str] = {}
    for pair in pairs:
        text = normal_query(pair.query)
        home.setdefault(text, text)
        marks = [f"id {pair.query_id}", *([f"near {near_query(pair.query)}"] if near else [])]
        for mark in marks:
            a, b = sorted((_root(home, text), _root(home, first_of_id.setdefault(mark, text))))
            home[b] = a
    return {text: _root(home, text) for text in home}


def _root(home: dict[str, str], text: str) -> str:
    while home[text] != text:
        home[text] = home[home[text]]
        text = home[text]
    return text


def _points(pairs: Sequence[Pair], homes: dict[str, str], seed: int) -> dict[str, float]:
    """The point of every representative query in [0, 1), computed from its alphabetically first text.

    If a query occurs in several forms, the folded one is used if present, so further forms do not move it.
    """
    form: dict[str, str] = {}
    for pair in pairs:
        normal, text = normal_query(pair.query), plain_query(pair.query)
        form[normal] = min(text, form.get(normal, text), key=lambda t: (t != normal, t))
    first: dict[str, str] = {}
    for normal, text in form.items():
        first[homes[normal]] = min(text, first.get(homes[normal], text))
    return {home: int(fingerprint_config([seed, text]), 16) / 16**16 for home, text in first.items()}


def _choose(point: float, fractions: dict[str, float]) -> str:
    bound = 0.0
    for name, fraction in fractions.items():
        bound += fraction
        if point < bound:
            return name
    return [name for name, fraction in fractions.items() if fraction > 0][-1]  # float error at the very end


def _cut(queries: list[str], sizes: Counter[str], fractions: dict[str, float]) -> dict[str, str]:
    """Query -> split, for sorted queries. Each cut is where the number of pairs before it is closest to the share."""
    largest = sorted((name for name, fraction in fractions.items() if fraction > 0), key=lambda n: -fractions[n])
    names = [name for name in fractions if name in largest[: len(queries)]]
    chosen: dict[str, str] = {}
    taken, share, start = 0, 0.0, 0
    for later, name in zip(range(len(names) - 1, -1, -1), names, strict=True):
        share += fractions[name]
        goal, end = share * sizes.total(), start
        while end < len(queries) - later and (
            end == start or later == 0 or abs(taken + sizes[queries[end]] - goal) < abs(taken - goal)
        ):
            taken += sizes[queries[end]]
            end += 1
        chosen |= dict.fromkeys(queries[start:end], name)
        start = end
    return chosen
