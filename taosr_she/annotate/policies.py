"""Which responses are worth a person's time: the policies that fill a queue.

Every policy gives a response a number from 0 (not worth asking) to 1. With v[k] the GSRM's verdict on step k and c[k]
the share of the pair's responses in the file with the same conclusion in step k (how sure the policy is of it):

| policy | number of a response |
| --- | --- |
| `disagreement` | largest abs(c[k] - v[k]): policy and GSRM believe different things |
| `uncertain` | largest 1 - 2 abs(v[k] - 0.5): the GSRM is near one half |
| `critical` | share of the steps that are critical: the pair's responses which reach the step disagree about it |
| `tail` | 1 if the pair has the tag `tail` |
| `random` | a random number: the control share, by which the others can be compared |
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from taosr_she.base.errors import UserError
from taosr_she.domain.conclusions import canonical
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import Response
from taosr_she.examine.hybrid import RIGHT

TAIL = "tail"
"""The tag of long-tail pairs."""
EXAMINED = {"disagreement": 0.25, "uncertain": 0.25, "critical": 0.25, "random": 0.25}
"""Shares for responses with the GSRM's verdicts."""
UNEXAMINED = {"random": 1.0}
"""Shares for responses without them, and for references."""


@dataclass(frozen=True)
class Candidates:
    """B responses (or, for references, B pairs without one) among which the policies choose."""

    pairs: Sequence[Pair]
    responses: Sequence[Response | None]
    verdicts: np.ndarray  # (B, K) of the GSRM, NaN where unknown
    asked: np.ndarray  # (B, K) bool: steps that would be asked


Score = Callable[[Domain, Candidates, Random], np.ndarray]


def uncertain(domain: Domain, among: Candidates, rng: Random) -> np.ndarray:
    """(B,) how near to one half the GSRM's least certain verdict is."""
    return _largest(1 - 2 * np.abs(among.verdicts - 0.5), among.asked)


def disagreement(domain: Domain, among: Candidates, rng: Random) -> np.ndarray:
    """(B,) the largest difference between how sure the policy is and the GSRM's verdict."""
    counts: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    said = [[_said(domain, response, k) for k in range(len(domain.steps))] for response in among.responses]
    for pair, texts in zip(among.pairs, said, strict=True):
        for k, text in enumerate(texts):
            counts[pair.pair_id, k][text] += 1
    sure = np.array(
        [
            [counts[pair.pair_id, k][text] / counts[pair.pair_id, k].total() for k, text in enumerate(texts)]
            for pair, texts in zip(among.pairs, said, strict=True)
        ]
    )
    return _largest(np.abs(sure - among.verdicts), among.asked)


def critical(domain: Domain, among: Candidates, rng: Random) -> np.ndarray:
    """(B,) the share of the asked steps that the response reaches and about which its pair's responses disagree."""
    right = among.verdicts >= RIGHT  # unknown is not right
    known = ~np.isnan(among.verdicts)
    before = np.cumprod(np.hstack([np.ones((len(right), 1)), right[:, :-1]]), axis=1).astype(bool)
    reached = before & known & among.asked
    members: dict[str, list[int]] = defaultdict(list)
    for b, pair in enumerate(among.pairs):
        members[pair.pair_id].append(b)
    found = np.zeros_like(reached)
    for rows in members.values():
        here, good = reached[rows], right[rows]
        found[rows] = here & ((here & good).any(axis=0) & (here & ~good).any(axis=0))
    return found.sum(axis=1) / np.maximum(1, among.asked.sum(axis=1))


def tail(domain: Domain, among: Candidates, rng: Random) -> np.ndarray:
    """(B,) 1 for pairs with the tag `tail`, if anything is asked."""
    return np.array([float(TAIL in pair.tags) for pair in among.pairs]) * among.asked.any(axis=1)


def at_random(domain: Domain, among: Candidates, rng: Random) -> np.ndarray:
    """(B,) random numbers, 0 only where nothing is asked."""
    return np.array([1 - rng.random() for _ in among.pairs]) * among.asked.any(axis=1)


POLICIES: dict[str, Score] = {
    "disagreement": disagreement, "uncertain": uncertain, "critical": critical, "tail": tail, "random": at_random,
}  # fmt: skip
BY_GSRM = ("disagreement", "uncertain", "critical")
CONTROL = "random"
"""The policy by which the others can be compared: nobody is shown anything that could lead them."""


def choose(
    domain: Domain, among: Candidates, shares: Mapping[str, float], limit: int | None, seed: int
) -> list[tuple[int, str]]:
    """(index, policy) of the chosen candidates, in the order of the queue: at every point of it, each policy has about
    its share. A policy takes its best candidate that is left; ties are broken at random. Where a policy finds nothing
    more that is worth asking, the others go on.
    """
    if not among.pairs:
        return []
    rng = Random(f"queue {seed}")
    order = {}
    for name in shares:
        scores, ties = POLICIES[name](domain, among, rng), np.array([rng.random() for _ in among.pairs])
        ranked = np.lexsort((ties, -scores))
        order[name] = [int(b) for b in ranked if scores[b] > 0][::-1]  # the best is popped first
    chosen: list[tuple[int, str]] = []
    given = dict.fromkeys(shares, 0)
    taken: set[int] = set()
    while order and (limit is None or len(chosen) < limit):
        name = max(order, key=lambda n: shares[n] * (len(chosen) + 1) - given[n])
        while order[name] and order[name][-1] in taken:
            order[name].pop()
        if not order[name]:
            del order[name]
            continue
        found = order[name].pop()
        taken.add(found)
        given[name] += 1
        chosen.append((found, name))
    return chosen


def check_policies(among: Candidates, shares: Mapping[str, float]) -> None:
    """Raises UserError for a policy that can find nothing at all among the candidates of a file."""
    if not among.pairs:
        return
    for name in shares:
        if name in BY_GSRM and np.isnan(among.verdicts).all():
            raise UserError(
                f"--policy {name}: no response has a verdict of a GSRM (columns verdict_<step>); examine the file "
                "first: taosr-she examine FILE --gsrm CHECKPOINT, or use --policy random=1"
            )
        if name == "tail" and not any(TAIL in pair.tags for pair in among.pairs):
            raise UserError(f"--policy tail: no pair has the tag '{TAIL}'; add a column `tags`, or use another policy")


def _largest(values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    return np.where(asked & ~np.isnan(values), values, 0.0).max(axis=1, initial=0.0)


def _said(domain: Domain, response: Response | None, k: int) -> str:
    step = response.steps[k] if response else None
    return canonical(domain, domain.steps[k], step.text) if step else ""
