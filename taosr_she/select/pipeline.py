"""Difficulty, then diversity: which pairs stay."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from taosr_she.base.errors import UserError
from taosr_she.domain.pair import Pair
from taosr_she.select.config import DiversityConfig, SelectionConfig
from taosr_she.select.difficulty import Decision, decide, difficulty
from taosr_she.select.diversity import choose
from taosr_she.select.embeddings import embed
from taosr_she.select.rollouts import PairRollouts


@dataclass(frozen=True)
class Selection:
    """What came of P pairs, and by which thresholds."""

    kept: list[Pair]  # in their old order
    decisions: list[Decision]  # P, in order
    config: SelectionConfig  # `difficulty` is None where nothing was known of it
    quotas: dict[str, tuple[int, int]] = field(default_factory=dict)  # name -> pairs set aside, pairs that stay


def select_pairs(
    pairs: Sequence[Pair], rollouts: Mapping[str, PairRollouts] | None, config: SelectionConfig
) -> Selection:
    """Choose among P pairs. Without rollouts there is no difficulty, and diversity uses only texts.

    Raises UserError for a quota of a label or tag that no pair has.
    """
    if config.diversity is not None:
        _check_quotas("label_quota", config.diversity.label_quota, {p.label for p in pairs if p.label})
        _check_quotas("tag_quota", config.diversity.tag_quota, {tag for p in pairs for tag in p.tags})
    if rollouts is None:
        config = config.model_copy(update={"difficulty": None})
        decisions = [Decision(p.pair_id, None) for p in pairs]
    elif config.difficulty is None:
        decisions = [Decision(p.pair_id, None, difficulty(rollouts[p.pair_id])) for p in pairs]
    else:
        decisions = decide(pairs, rollouts, config.difficulty)
    quotas: dict[str, tuple[int, int]] = {}
    if config.diversity is not None and any(d.reason is None for d in decisions):
        decisions, quotas = _diverse(pairs, decisions, config.diversity, config.seed)
    kept = [pair for pair, decision in zip(pairs, decisions, strict=True) if decision.reason is None]
    return Selection(kept, decisions, config, quotas)


def _check_quotas(option: str, quota: Mapping[str, float], known: Collection[str]) -> None:
    """A misspelled name must not look like a quota that is kept."""
    for name in quota:
        if name not in known:
            there = f"there are {', '.join(sorted(known)[:20])}" if known else "they have none"
            raise UserError(f"diversity.{option}: no pair has '{name}'; {there}")


def _diverse(
    pairs: Sequence[Pair], decisions: list[Decision], config: DiversityConfig, seed: int
) -> tuple[list[Decision], dict[str, tuple[int, int]]]:
    """The decisions, with reasons for the pairs that diversity leaves out; and what became of the quotas."""
    rows = [i for i, decision in enumerate(decisions) if decision.reason is None]
    left = [pairs[i] for i in rows]
    entropy = np.array([d.difficulty.path_entropy if (d := decisions[i]).difficulty else 0.0 for i in rows])
    weights = 1 + config.path_weight * entropy / max(float(entropy.max()), 1e-12)
    choice = choose(left, embed(left, config, seed), weights.astype(np.float32), config)
    taken, changed = set(choice.taken), list(decisions)
    for place, row in enumerate(rows):
        if place in choice.duplicates:
            stays = left[choice.duplicates[place]].pair_id
            changed[row] = replace(decisions[row], reason="near duplicate", duplicate_of=stays)
        elif place not in taken:
            changed[row] = replace(decisions[row], reason="over budget")
    return changed, choice.quotas
