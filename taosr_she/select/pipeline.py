"""Difficulty, then diversity: which pairs stay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from taosr_she.domain.pair import Pair
from taosr_she.select.config import DiversityConfig, SelectionConfig
from taosr_she.select.difficulty import Decision, decide, difficulty
from taosr_she.select.diversity import choose
from taosr_she.select.embeddings import embed
from taosr_she.select.rollouts import PairRollouts


@dataclass(frozen=True)
class Selection:
    """`kept` in their old order; one decision for each pair, in order."""

    kept: list[Pair]
    decisions: list[Decision]


def select_pairs(
    pairs: Sequence[Pair], rollouts: Mapping[str, PairRollouts] | None, config: SelectionConfig
) -> Selection:
    """Choose among P pairs. Without rollouts there is no difficulty, and diversity looks at texts alone."""
    if rollouts is None:
        decisions = [Decision(p.pair_id, None) for p in pairs]
    elif config.difficulty is None:
        decisions = [Decision(p.pair_id, None, difficulty(rollouts[p.pair_id])) for p in pairs]
    else:
        decisions = decide(pairs, rollouts, config.difficulty)
    if config.diversity is not None:
        decisions = _diverse(pairs, decisions, config.diversity, config.seed)
    kept = [pair for pair, decision in zip(pairs, decisions, strict=True) if decision.reason is None]
    return Selection(kept, decisions)


def _diverse(pairs: Sequence[Pair], decisions: list[Decision], config: DiversityConfig, seed: int) -> list[Decision]:
    """The decisions, with reasons for the pairs that diversity leaves out."""
    rows = [i for i, decision in enumerate(decisions) if decision.reason is None]
    if not rows:
        return decisions
    left = [pairs[i] for i in rows]
    entropy = np.array([d.difficulty.path_entropy if (d := decisions[i]).difficulty else 0.0 for i in rows])
    weights = 1 + config.path_weight * entropy / max(float(entropy.max()), 1e-12)
    fate = choose(left, embed(left, config, seed), weights.astype(np.float32), config)
    changed = list(decisions)
    for place, row in enumerate(rows):
        changed[row] = replace(decisions[row], reason=fate[place])
    return changed
