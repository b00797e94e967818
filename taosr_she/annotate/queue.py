"""From a file of responses (or pairs) to items in the queue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np

from taosr_she.annotate.items import Item, response_id
from taosr_she.annotate.policies import CONTROL, Candidates, check_policies, choose
from taosr_she.base.errors import UserError
from taosr_she.data.validate import RESPONSE
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Annotation, Pair
from taosr_she.domain.response import Response, parse_response
from taosr_she.examine.verdicts import Verdicts
from taosr_she.examine.verifier import Verifier

RESPONSE_ID = "response_id"
"""The column with ids of responses; without it, they are made from the text."""


@dataclass(frozen=True)
class Queued:
    """The items of a file, and how many of its rows have none."""

    items: list[Item]
    repeated: int  # the same response to the same pair again
    unreadable: int  # responses without a single section


def response_items(
    domain: Domain,
    pairs: Sequence[Pair],
    shares: Mapping[str, float],
    steps: Sequence[str] = (),
    limit: int | None = None,
    double: float = 0.0,
    gold: Sequence[Annotation] = (),
    seed: int = 0,
    critiques: float = 0.0,
) -> Queued:
    """Items of responses (column `response` in each pair's `extra`), in the order in which people get them.

    A share `double` of them is wanted from two people. Responses about whose steps `gold` has annotations become gold
    items, beside the queue. Steps (default: all) that a response lacks are not asked. A random share `critiques` of
    the items with a critique shows it (see `_with_critiques`). Raises UserError if there are none.
    """
    found: dict[tuple[str, str], tuple[Pair, Response]] = {}
    unreadable = 0
    for pair in pairs:
        text = pair.extra[RESPONSE]
        response = parse_response(domain, text)
        if not any(response.steps):
            unreadable += 1
            continue
        found.setdefault(
            (pair.pair_id, str(pair.extra.get(RESPONSE_ID) or response_id(pair.pair_id, text))), (pair, response)
        )
    listed = list(found.values())
    examined = np.array([[_verdict(pair, key) for key in domain.step_keys] for pair, _ in listed])
    examined = examined.reshape(len(listed), len(domain.steps))
    asked = np.array(
        [
            [
                step is not None and (not steps or key in steps)
                for key, step in zip(domain.step_keys, r.steps, strict=True)
            ]
            for _, r in listed
        ],
        dtype=bool,
    ).reshape(examined.shape)
    known = _gold(domain, listed, gold)
    items = []
    for b, ((_, identity), (pair, response)) in enumerate(found.items()):
        item = Item(
            pair=_bare(domain, pair),
            asked=tuple(key for key, wanted in zip(domain.step_keys, asked[b], strict=True) if wanted),
            response_id=identity,
            steps=tuple(step.text if step else None for step in response.steps),
            examined={k: float(v) for k, v in zip(domain.step_keys, examined[b], strict=True) if not np.isnan(v)},
            gold=known[b],
        )
        items.append(item)
    work = [b for b, item in enumerate(items) if not item.gold and item.asked]
    among = Candidates([listed[b][0] for b in work], [listed[b][1] for b in work], examined[work], asked[work])
    check_policies(among, shares)
    chosen = choose(domain, among, shares, limit, seed)
    queue = [replace(items[work[place]], reason=reason) for place, reason in chosen]
    golden = [item for item in items if item.gold and item.asked]
    made = [*_doubled(queue, double, seed), *golden]
    if critiques:
        made = _with_critiques(domain, made, [pair for pair, _ in listed], critiques, seed)
    return Queued(made, len(pairs) - unreadable - len(found), unreadable)


def reference_items(
    domain: Domain,
    pairs: Sequence[Pair],
    shares: Mapping[str, float],
    steps: Sequence[str] = (),
    limit: int | None = None,
    double: float = 0.0,
    seed: int = 0,
) -> Queued:
    """Items that ask for the conclusions of a pair's closed steps, without any response in sight."""
    closed = [spec.key for spec in domain.steps if spec.kind == "closed"]
    if strange := [key for key in steps if key not in closed]:
        raise UserError(f"--step {strange[0]}: references are of closed steps: {', '.join(closed)}")
    asked = tuple(key for key in closed if not steps or key in steps)
    unique = list({pair.pair_id: pair for pair in pairs}.values())
    unknown = np.full((len(unique), len(domain.steps)), np.nan)
    among = Candidates(unique, [None] * len(unique), unknown, np.ones_like(unknown, dtype=bool))
    check_policies(among, shares)
    chosen = choose(domain, among, shares, limit, seed)
    items = [Item(_bare(domain, unique[b]), asked, "reference", reason=reason) for b, reason in chosen]
    return Queued(_doubled(items, double, seed), len(pairs) - len(unique), 0)


def _doubled(items: list[Item], double: float, seed: int) -> list[Item]:
    """With `wanted` 2 for a random share, spread over the queue."""
    rng = Random(f"double {seed}")
    picked = set(rng.sample(range(len(items)), round(double * len(items))))
    return [replace(item, wanted=2) if n in picked else item for n, item in enumerate(items)]


def _with_critiques(
    domain: Domain, items: Sequence[Item], pairs: Sequence[Pair], share: float, seed: int
) -> list[Item]:
    """The items with the GSRM's critiques: a random `share` of them shows them, the others keep them back.

    Never an item of the control policy, whose verdicts nothing may have led. A critique belongs to the pair: the GSRM
    writes what each step should say before it sees a response.
    """
    known = {
        pair.pair_id: {key: str(said) for key in domain.step_keys if (said := pair.extra.get(f"critique_{key}"))}
        for pair in pairs
    }
    if not any(known.values()):
        raise UserError(
            "--critiques: no response has a critique of a GSRM (columns critique_<step>); examine the file first: "
            "taosr-she examine FILE --gsrm CHECKPOINT"
        )
    made = []
    for item in items:
        asked = {key: text for key, text in known[item.pair.pair_id].items() if key in item.asked}
        if not asked or (item.reason == CONTROL and not item.gold):
            made.append(item)
            continue
        chance = Random(f"critique {seed} {item.pair.pair_id} {item.response_id}").random()
        made.append(replace(item, critiques=asked, offered="shown" if chance < share else "kept"))
    return made


def _gold(domain: Domain, listed: Sequence[tuple[Pair, Response]], gold: Sequence[Annotation]) -> list[dict[str, str]]:
    """What is known beforehand about every response: step -> correct | wrong."""
    if not gold or not listed:
        return [{} for _ in listed]
    # Without its label: a gold verdict comes from the gold file alone.
    unlabelled = [replace(pair, label=None) for pair, _ in listed]
    verdicts: Verdicts = Verifier(domain, gold).examine(unlabelled, [response for _, response in listed])
    return [
        {
            step.key: "correct" if value >= 0.5 else "wrong"
            for step, value in zip(response.steps, row, strict=True)
            if step is not None and not np.isnan(value)
        }
        for (_, response), row in zip(listed, verdicts.values.tolist(), strict=True)
    ]


def _verdict(pair: Pair, step: str) -> float:
    """The GSRM's verdict in a file of `taosr-she examine`; NaN if there is none, or if it is somebody else's."""
    value: Any = pair.extra.get(f"verdict_{step}")
    if pair.extra.get(f"source_{step}", "gsrm") != "gsrm" or value in (None, ""):
        return float("nan")
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number <= 1:
        raise UserError(f"pair {pair.pair_id}: verdict_{step} is '{str(value)[:40]}', not a number from 0 to 1")
    return number


def _bare(domain: Domain, pair: Pair) -> Pair:
    """The pair without what the file says about the response: an item keeps what people see."""
    return replace(pair, extra={})
