"""The reward of a GSRM's reasoning: against loops written from its table, and what counts as a case."""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Annotation, Pair, Product
from taosr_she.domain.response import parse_response
from taosr_she.examine.gsrm import GSRM, GSRMConfig
from taosr_she.examine.gsrm_data import Examined, judged_responses
from taosr_she.examine.gsrm_reward import REWARDS, ReasoningReward, distinct
from taosr_she.examine.verdicts import CODE
from taosr_she.model.policy import Policy

NAN = math.nan
PAIR = Pair("p", "q", "red boots", Product("boots"))
RIGHT = {
    "query": "category: boots; color: red", "product": "category: boots", "category": "same",
    "attributes": "color: unknown", "label": "3",
}  # fmt: skip


def text(**changed: str) -> str:
    return "\n".join(f"[{key}] {value}" for key, value in (RIGHT | changed).items())


def case(domain: Domain, verdicts: Sequence[float], pair: Pair = PAIR, **changed: str) -> Examined:
    return Examined(pair, parse_response(domain, text(**changed)), tuple(verdicts), (None,) * 5, "rollout")


def slow_reward(name: str, people: Sequence[float], gsrm: Sequence[float]) -> float:
    known = [k for k, p in enumerate(people) if not math.isnan(p)]
    silent = any(math.isnan(gsrm[k]) for k in known)
    t = next((n for n, k in enumerate(known) if people[k] == 0), None)
    own = next((n for n, k in enumerate(known) if gsrm[k] < 0.5), None)
    if name == "steps":
        return sum(not math.isnan(gsrm[k]) and (people[k] == 1) == (gsrm[k] >= 0.5) for k in known) / len(known)
    if name == "first_error":
        return float(not silent and t == own)
    if silent or (t is None) != (own is None):
        return -1.0
    return 1.0 if t is None else 1.0 - abs(t - own) / len(known)


@pytest.mark.parametrize("name", REWARDS)
def test_every_reward_equals_a_loop_over_all_verdicts_of_three_steps(name: str) -> None:
    people = [row for row in itertools.product((0.0, 1.0, NAN), repeat=3) if not all(map(math.isnan, row))]
    rows = list(itertools.product(people, itertools.product((0.1, 0.5, NAN), repeat=3)))
    found = REWARDS[name](np.array([p for p, _ in rows]), np.array([g for _, g in rows]))
    assert found.tolist() == pytest.approx([slow_reward(name, p, g) for p, g in rows])


def test_fapo_as_its_authors_compute_it() -> None:
    """Clean: 1 or -1. Flawed: -1 if none is found, else 1 less the distance over the number of steps (2510.22543)."""
    people = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [1, 0, 1, 1], [1, 0, 1, 1], [1, 0, 1, 1]], dtype=float)
    gsrm = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 1, 1], [1, 0, 0, 1], [1, 1, 1, 0]], dtype=float)
    assert REWARDS["fapo"](people, gsrm).tolist() == [1.0, -1.0, -1.0, 1.0, 0.5]


def test_a_reasoning_earns_the_mean_over_the_cases_of_its_pair(
    make_gsrm: Callable[..., Policy], domain: Domain
) -> None:
    other = Pair("o", "q", "red boots", Product("boots"))
    cases = [
        case(domain, (1, 1, 1, 1, 1)),
        case(domain, (1, 1, 0, NAN, 0), category="near", label="2"),
        case(domain, (NAN, NAN, 0, NAN, NAN), other, category="near"),
    ]
    reward = ReasoningReward(GSRM(make_gsrm(), domain, GSRMConfig(cache_size=0)), cases, REWARDS["first_error"])
    reasonings = [
        text(), text(category="near", label="2"), text(attributes="color: match"), text(attributes="color: match"),
        text().replace("[category] same\n", ""),
    ]  # fmt: skip
    pairs = [PAIR, PAIR, PAIR, other, PAIR]
    found = reward.examine(pairs, [parse_response(domain, one) for one in reasonings])
    # The right one names both; the second believes the flawed case; the third accuses a right step of the first case.
    assert found.outcomes is not None and found.outcomes.tolist() == [1.0, 0.0, 0.5, 1.0, 0.0]
    np.testing.assert_array_equal(
        found.values,
        [[1, 1, 1, 1, 1], [1, 1, 0, 1, 0], [1, 1, 1, 0, 1], [NAN, NAN, 1, NAN, NAN], [1, 1, 0, 1, 1]],
    )
    assert found.sources[3].tolist() == [0, 0, CODE["human"], 0, 0]


def test_what_steps_are_read_as_depends_on_the_reasoning_given(
    make_gsrm: Callable[..., Policy], domain: Domain
) -> None:
    gsrm = GSRM(make_gsrm(), domain, GSRMConfig(closed_steps="read", cache_size=0))
    responses = [parse_response(domain, text())] * 2
    owns = [gsrm.policy.encode_response(one)[:-1] for one in (text(), text(category="other"))]
    after = gsrm.examine_after([PAIR, PAIR], responses, owns)
    for own, values in zip(owns, after, strict=True):
        alone = GSRM(gsrm.policy, domain, gsrm.config.model_copy(update={"cache_size": 9}))
        alone._reasonings.remember({"p": [own]})
        np.testing.assert_allclose(alone.examine([PAIR], responses[:1]).values[0], values, atol=2e-5)
    assert np.abs(after[0] - after[1]).max() > 1e-3


def test_responses_that_people_judged_are_put_together_again(domain: Domain) -> None:
    said = [
        Annotation("p", key, f"{value}\n", "correct", annotator="ann", response_id="r1") for key, value in RIGHT.items()
    ]
    said += [
        Annotation("p", "category", "near", "wrong", annotator="bob", response_id="r2"),
        Annotation("p", "label", "2", "wrong", annotator="bob", response_id="r2"),
        Annotation("p", "category", "same", annotator="ann"),  # a reference judges no text
        Annotation("unknown", "category", "same", annotator="ann", response_id="r3"),
    ]
    whole, part = judged_responses(domain, [PAIR], said)
    assert (whole.pair, whole.response.text, whole.verdicts) == (PAIR, text(), (1, 1, 1, 1, 1))
    assert part.response.text == "[category] near\n[label] 2"
    np.testing.assert_array_equal(part.verdicts, (NAN, NAN, 0, NAN, 0))


def test_a_text_counts_once(domain: Domain) -> None:
    right, flawed = case(domain, (1, 1, 1, 1, 1)), case(domain, (1, 1, 0, 1, 1), category="near")
    again = case(domain, (1, 1, 1, 1, 1), category=" same ")
    assert distinct([right, flawed, again]) == [right, flawed]
