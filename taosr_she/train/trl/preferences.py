"""Preferences, to train the scalar reward model and DPO: a preferred and a rejected response to a pair."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import Response
from taosr_she.examine.verdicts import outcomes
from taosr_she.model.lora import LoraConfig
from taosr_she.train.settings import TrainerSettings

if TYPE_CHECKING:
    from taosr_she.model.policy import Policy


class PreferenceSettings(TrainerSettings):
    """Training on preferences."""

    later: ClassVar[dict[str, Any]] = {"lora": None}
    epochs: int = Field(default=1, gt=0)
    """Number of passes over the preferences."""
    batch_size: int = Field(default=32, gt=0)
    """Number of preferences in one forward and backward pass, with two responses each."""
    max_length: int = Field(default=1024, gt=1)
    """Preferences are left out and counted if a side has more tokens, including the prompt."""
    lora: LoraConfig | None = None
    """Train an adapter on frozen weights; unset: train all weights. The checkpoint of a scalar reward model is the
    whole model, with the adapter merged."""


@dataclass(frozen=True)
class Preference:
    """Token ids of a prompt and of two responses to it, end token included."""

    prompt: list[int]
    preferred: list[int]
    rejected: list[int]


def longer_side(preference: Preference) -> int:
    """Number of tokens of the prompt and the longer response."""
    return len(preference.prompt) + max(len(preference.preferred), len(preference.rejected))


def preference(policy: "Policy", domain: Domain, pair: Pair, preferred: str, rejected: str) -> Preference:
    """From the texts of responses, e.g. a demonstration and a corrupted version of it."""
    return Preference(
        policy.encode_prompt(domain, pair), policy.encode_response(preferred), policy.encode_response(rejected)
    )


def preferences_by_outcome(
    policy: "Policy", domain: Domain, pairs: Sequence[Pair], responses: Sequence[Response], per_pair: int, seed: int
) -> list[Preference]:
    """From B sampled rollouts: responses with outcome 1 are preferred to those with outcome 0 of the same pair.

    There are at most `per_pair` preferences per pair, and each text is in at most one of them. Pairs whose rollouts all
    have the same outcome give none. `pairs` has B entries, one for each response.
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
