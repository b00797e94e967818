"""Preferences: what the scalar reward model and DPO are trained on, a preferred and a rejected response to a pair."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import Response
from taosr_she.examine.verdicts import outcomes
from taosr_she.train.settings import TrainerSettings

if TYPE_CHECKING:
    from taosr_she.model.policy import Policy


class PreferenceSettings(TrainerSettings):
    """Training on preferences."""

    epochs: int = Field(default=1, gt=0)
    """Passes over the preferences."""
    batch_size: int = Field(default=32, gt=0)
    """Preferences of one forward and backward pass, two responses each."""
    max_length: int = Field(default=1024, gt=1)
    """Preferences of which a side has more tokens, prompt included, are left out and counted."""


@dataclass(frozen=True)
class Preference:
    """Token ids of a prompt and of two responses to it, end token included."""

    prompt: list[int]
    preferred: list[int]
    rejected: list[int]


def longer_side(preference: Preference) -> int:
    """Tokens of prompt and the longer of the two responses."""
    return len(preference.prompt) + max(len(preference.preferred), len(preference.rejected))


def preference(policy: "Policy", domain: Domain, pair: Pair, preferred: str, rejected: str) -> Preference:
    """From response texts, e.g. a demonstration and the same one corrupted."""
    return Preference(
        policy.encode_prompt(domain, pair), policy.encode_response(preferred), policy.encode_response(rejected)
    )


def preferences_by_outcome(
    policy: "Policy", domain: Domain, pairs: Sequence[Pair], responses: Sequence[Response], per_pair: int, seed: int
) -> list[Preference]:
    """From B sampled rollouts: a response with outcome 1 before one with outcome 0 of the same pair.

    At most `per_pair` preferences a pair, each text in at most one of them; pairs whose rollouts all have the same
    outcome give none. `pairs` has B entries, one for each response.
    """
    sides: dict[str, tuple[Pair, dict[str, None], dict[str, None]]] = {}
    for pair, response, outcome in zip(pairs, responses, outcomes(pairs, responses), strict=True):
        _, right, wrong = sides.setdefault(pair.pair_id, (pair, {}, {}))
        (right if outcome else wrong)[response.text] = None  # a dict as an ordered set
    rng = random.Random(seed)
    found = []
    for pair, right, wrong in sides.values():
        n = min(per_pair, len(right), len(wrong))
        chosen = zip(rng.sample(list(right), n), rng.sample(list(wrong), n), strict=True)
        found += [preference(policy, domain, pair, better, worse) for better, worse in chosen]
    return found
