"""The market's teacher: stepwise demonstrations with documented, adjustable blind spots, like those of LLM teachers.

On a pair where a blind spot can occur, the teacher makes the error with probability `blind_share`. Its label then
follows from its flawed steps with probability `label_follows`; otherwise it is the true label. A model trained on such
demonstrations knows the right reasoning but does not prefer it.

| blind spot | what the teacher does | first wrong step |
| --- | --- | --- |
| negation | overlooks "not", "without", "no" and knowledge words: the excluded value becomes the wanted one | query |
| budget | forgets the budget | query |
| need | forgets what a purpose implies ("for a rainy trek") | query |
| alternatives | keeps only the first of "red or blue" | query |
| sub_brand | mistakes a sub-brand for the brand ("norvik lite" for "norvik") | product |
| rival | mistakes the brand that a title compares itself with for the product's own | product |
| near | mistakes a near kind for the same one | category |
"""

from dataclasses import dataclass, replace
from random import Random

from taosr_she.data.demonstration import Demonstration
from taosr_she.data.market.reasoning import KEY_ORDER, Ask, Goods, Reasoning, reason, relation
from taosr_she.domain.domain import Domain
from taosr_she.domain.response import render_response

BLIND_SPOTS = ("negation", "budget", "need", "alternatives", "sub_brand", "rival", "near")


@dataclass(frozen=True)
class Case:
    """The market's knowledge of one pair: the meaning of query and product, and the truth of every step."""

    ask: Ask
    goods: Goods
    rival: str | None
    truth: Reasoning


def blind_spots(case: Case) -> tuple[str, ...]:
    """The blind spots that can occur in this case."""
    origins = {c.origin for c in case.ask.constraints}
    found = {
        "negation": bool(origins & {"negation", "knowledge"}),
        "budget": "budget" in origins,
        "need": "need" in origins,
        "alternatives": "alternatives" in origins,
        "sub_brand": " " in (case.goods.get("brand") or ""),
        "rival": case.rival is not None,
        "near": relation(case.ask.kind, case.goods.kind) == "near",
    }
    return tuple(name for name in BLIND_SPOTS if found[name])


def flawed_reasoning(case: Case, flaws: tuple[str, ...]) -> Reasoning:
    """The reasoning of a person with these blind spots."""
    constraints = []
    for c in case.ask.constraints:
        if (c.origin == "budget" and "budget" in flaws) or (c.origin == "need" and "need" in flaws):
            continue
        if c.negated and "negation" in flaws:
            c = replace(c, negated=False)
        if c.origin == "alternatives" and "alternatives" in flaws:
            c = replace(c, values=c.values[:1])
        constraints.append(c)
    values = dict(case.goods.values)
    if "sub_brand" in flaws:
        values["brand"] = values["brand"].split()[0]
    if "rival" in flaws and case.rival:
        values["brand"] = case.rival
    goods = replace(case.goods, values=tuple((k, values[k]) for k in KEY_ORDER if k in values))
    return reason(replace(case.ask, constraints=tuple(constraints)), goods, "same" if "near" in flaws else None)


def demonstrate(
    domain: Domain, pair_id: str, case: Case, rng: Random, blind_share: float, label_follows: float
) -> Demonstration:
    """One demonstration of the case; `flaws` records the blind spots that took effect."""
    flaws = tuple(name for name in blind_spots(case) if rng.random() < blind_share)
    seen = flawed_reasoning(case, flaws)
    label = seen.steps["label"] if rng.random() < label_follows else case.truth.steps["label"]
    response = render_response(domain, {**seen.steps, "label": label})
    return Demonstration(pair_id, response, "market", flaws)
