"""The difficulty of a pair for a policy, from its rollouts; and which pairs are kept, with a reason for every other.

Follows the abstract of TaoSR-SHE (2510.07972), which filters by difficulty, with documented choices: the band of pass
rates is that of `DifficultyConfig`, and a pair with signal only in its steps can be kept.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from taosr_she.domain.pair import Pair
from taosr_she.select.config import DifficultyConfig
from taosr_she.select.rollouts import PairRollouts

RIGHT = 0.5
"""A verdict of at least this counts as right."""

REASONS = {
    "too hard": "the pass rate is below the band",
    "too easy": "the pass rate is above the band",
    "no signal": "the rollouts agree in outcome and in every examined step, so no token would get credit",
    "label balance": "its label has too many pairs",
    "near duplicate": "another pair with the same label and nearly the same text is kept instead",
    "over budget": "other pairs cover the space better",
}
"""Every reason why a pair goes, with its meaning."""


@dataclass(frozen=True)
class Difficulty:
    """The statistics of the N rollouts of a pair."""

    pass_rate: float  # share with outcome 1
    step_rates: tuple[float, ...]  # K: share of known verdicts that are right; NaN without any
    outcome_signal: bool  # the outcomes differ
    step_signal: bool  # the known verdicts of some step differ
    path_entropy: float  # nats, see `path_entropy`


@dataclass(frozen=True)
class Decision:
    """Whether a pair stays: `reason` is None, or a key of REASONS."""

    pair_id: str
    reason: str | None
    difficulty: Difficulty | None = None
    duplicate_of: str | None = None  # pair_id of the pair that is kept instead of a near duplicate


def difficulty(rollouts: PairRollouts) -> Difficulty:
    """Rates and signals of one pair."""
    outcomes = rollouts.outcomes
    rates, differ = [], False
    for column in zip(*rollouts.verdicts, strict=True):
        known = [v >= RIGHT for v in column if not math.isnan(v)]
        rates.append(sum(known) / len(known) if known else math.nan)
        differ = differ or 0 < sum(known) < len(known)
    return Difficulty(
        sum(outcomes) / len(outcomes), tuple(rates), len(set(outcomes)) > 1, differ, path_entropy(rollouts)
    )


def path_entropy(rollouts: PairRollouts) -> float:
    """Entropy, in nats, of the reasoning paths of N rollouts: from 0, all the same, to log N, all different.

    A path is the tuple of the canonical conclusions of all steps, whatever their wording. With free steps, or a policy
    that hardly ever repeats itself, all paths differ: the entropy is log N for every pair and prefers none.
    """
    n = len(rollouts.conclusions)
    return -sum(c / n * math.log(c / n) for c in Counter(rollouts.conclusions).values()) + 0.0


def decide(pairs: Sequence[Pair], rollouts: Mapping[str, PairRollouts], config: DifficultyConfig) -> list[Decision]:
    """One decision a pair, in order: the band, then the balance of labels."""
    found = {pair.pair_id: difficulty(rollouts[pair.pair_id]) for pair in pairs}
    reasons = {pair_id: _band(d, config) for pair_id, d in found.items()}
    if config.balance:
        reasons |= dict.fromkeys(
            _surplus([p for p in pairs if reasons[p.pair_id] is None], found, config), "label balance"
        )
    return [Decision(p.pair_id, reasons[p.pair_id], found[p.pair_id]) for p in pairs]


def _band(d: Difficulty, config: DifficultyConfig) -> str | None:
    if config.keep_step_disagreement and d.step_signal:
        return None
    if d.pass_rate < config.pass_low:
        return "too hard"
    if d.pass_rate > config.pass_high:
        return "too easy"
    return "no signal" if config.need_signal and not (d.outcome_signal or d.step_signal) else None


def _surplus(pairs: Sequence[Pair], found: Mapping[str, Difficulty], config: DifficultyConfig) -> list[str]:
    """Pairs of labels that have more than `balance` times the rarest one's, farthest from one half first."""
    by_label: dict[str | None, list[str]] = {}
    for pair in pairs:
        by_label.setdefault(pair.label, []).append(pair.pair_id)
    most = math.floor(config.balance * min(map(len, by_label.values()), default=0))
    surplus = []
    for ids in by_label.values():
        ids.sort(key=lambda pair_id: abs(found[pair_id].pass_rate - 0.5))  # stable: the first of equals stays
        surplus += ids[most:]
    return surplus
