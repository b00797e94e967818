"""What to ask people about a batch of rollouts: chosen by the queue's policies, bounded, and no text twice."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from taosr_she.annotate.items import Item, response_id
from taosr_she.annotate.online.config import OnlineConfig
from taosr_she.annotate.online.ledger import Ledger
from taosr_she.annotate.policies import Candidates, choose
from taosr_she.domain.annotation import normal_text
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import Response
from taosr_she.examine.verdicts import CODE, Verdicts

BY_PEOPLE = (CODE["human"], CODE["machine"])


def choose_questions(
    domain: Domain,
    pairs: Sequence[Pair],
    responses: Sequence[Response],
    verdicts: Verdicts,
    ledger: Ledger,
    config: OnlineConfig,
    room: int,
    seed: int,
    never: Collection[str] = (),
) -> list[Item]:
    """Items with at most `room` questions about B rollouts, best first.

    Asked are steps of well-formed responses that neither people nor programs know, and that the ledger does not have;
    of one pair's closed step only one. Nothing is asked about the pairs in `never`.
    """
    asked = ~np.isin(verdicts.sources, BY_PEOPLE)
    for b, (pair, response) in enumerate(zip(pairs, responses, strict=True)):
        fit = response.well_formed and pair.pair_id not in never
        for k, step in enumerate(response.steps):
            asked[b, k] &= fit and step is not None and not ledger.has(pair.pair_id, step.key, step.text)
    if room <= 0 or not asked.any():
        return []
    rows, values = list(range(len(pairs))), verdicts.values
    if config.unit == "step":  # a candidate for each step of each rollout
        each = np.eye(len(domain.steps), dtype=bool)
        rows = [b for b in rows for _ in domain.steps]
        values, asked = values[rows], asked[rows] & np.tile(each, (len(pairs), 1))
    among = Candidates([pairs[b] for b in rows], [responses[b] for b in rows], values, asked)
    found: dict[int, Item] = {}
    taken: set[tuple[str, ...]] = set()  # what is asked now
    for place, reason in choose(domain, among, config.shares, None, seed):
        b = rows[place]
        pair = pairs[b]
        new = {
            spec.key: (pair.pair_id, spec.key, "" if spec.kind == "closed" else normal_text(step.text))
            for spec, step, wanted in zip(domain.steps, responses[b].steps, asked[place], strict=True)
            if step is not None and wanted
        }
        steps = [key for key, what in new.items() if what not in taken][: config.each_update]
        if len(steps) > room:  # a response is asked as a whole, or later
            break
        if steps:
            taken |= {new[key] for key in steps}
            item = found.get(b) or _item(domain, pair, responses[b], values[place], reason)
            found[b] = replace(item, asked=tuple(k for k in domain.step_keys if k in item.asked or k in steps))
            room -= len(steps)
    return list(found.values())


def _item(domain: Domain, pair: Pair, response: Response, values: np.ndarray, reason: str) -> Item:
    known = {key: float(value) for key, value in zip(domain.step_keys, values, strict=True) if not np.isnan(value)}
    return Item(
        pair=replace(pair, extra={}), asked=(), response_id=response_id(pair.pair_id, response.text),
        steps=tuple(step.text if step else None for step in response.steps), examined=known, reason=f"online {reason}",
    )  # fmt: skip
