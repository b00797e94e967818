"""Splits by query: what a model is tested on shares no query with what it was trained on."""

import math
from collections.abc import Sequence

from taosr_she.data.fingerprint import fingerprint_config
from taosr_she.data.rows import normal_query
from taosr_she.domain.pair import Pair
from taosr_she.errors import UserError


def split_by_query(pairs: Sequence[Pair], fractions: dict[str, float], seed: int) -> dict[str, list[Pair]]:
    """Split name -> its pairs, in their given order.

    Pairs with the same `query_id`, or whose queries differ only in case and white space, stay together. Where a query
    goes follows from the seed and its text alone, so adding pairs moves no other query, and the shares hold on average
    only. UserError unless the fractions are not negative and sum to 1.
    """
    if not fractions or any(not f >= 0 for f in fractions.values()) or not math.isclose(sum(fractions.values()), 1):
        raise UserError(f"split: the shares must not be negative and must sum to 1, not {fractions}")
    homes = _homes(pairs)
    splits: dict[str, list[Pair]] = {name: [] for name in fractions}
    for pair in pairs:
        splits[_choose(homes[normal_query(pair.query)], fractions, seed)].append(pair)
    return splits


def _homes(pairs: Sequence[Pair]) -> dict[str, str]:
    """Normal query -> the smallest normal query that it must stay with (itself, unless an id is used for two texts)."""
    home: dict[str, str] = {}
    first_of_id: dict[str, str] = {}
    for pair in pairs:
        text = normal_query(pair.query)
        home.setdefault(text, text)
        a, b = sorted((_root(home, text), _root(home, first_of_id.setdefault(pair.query_id, text))))
        home[b] = a
    return {text: _root(home, text) for text in home}


def _root(home: dict[str, str], text: str) -> str:
    while home[text] != text:
        home[text] = home[home[text]]
        text = home[text]
    return text


def _choose(query: str, fractions: dict[str, float], seed: int) -> str:
    point = int(fingerprint_config([seed, query]), 16) / 16**16  # in [0, 1)
    bound = 0.0
    for name, fraction in fractions.items():
        bound += fraction
        if point < bound:
            return name
    return [name for name, fraction in fractions.items() if fraction > 0][-1]  # float error at the very end
