"""Group refill: groups without signal teach nothing, so they are replaced by newly sampled ones, up to a bound.

Like dynamic sampling in DAPO (2503.14476), which continues until the batch is full. Here, the bound limits how much
sampling an update may cost.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import numpy as np
import torch

from taosr_she.credit.advantages import signal
from taosr_she.domain.pair import Pair
from taosr_she.examine.verdicts import Verdicts
from taosr_she.model.sampler import Rollouts
from taosr_she.train.rl.batch import CreditedBatch

Prompts = list[list[int]]
CreditedGroups = tuple[Prompts, CreditedBatch]
"""Prompts of n groups, and their credited rollouts; `rollouts.group` indexes the prompts."""


def refilled(
    first: CreditedGroups,
    pool: Sequence[Pair],
    bound: int,
    seed: int,
    update: int,
    sample: Callable[[list[Pair], int], CreditedGroups],
    balance: bool = False,
) -> tuple[Prompts, CreditedBatch, int, int]:
    """Replace groups without signal by groups with signal, from at most `bound` further groups of the pool.

    Returns prompts, batch, the number of further groups, and the tokens generated for groups that are no longer in the
    batch. `sample(pairs, round)` makes groups of pairs. The pairs drawn depend only on seed and update; with
    `balance` their labels take turns. Groups without signal that could not be replaced stay in the batch and keep their
    share in the mean of the loss.
    """
    here = {pair.pair_id for pair in first[1].pairs}
    others = [pair for pair in pool if pair.pair_id not in here]
    drawn = Random(f"refill {seed} {update}").sample(others, len(others) if balance else min(bound, len(others)))
    if balance:
        drawn = in_turn(drawn)[:bound]
    parts, used, missing = [first], 0, _without_signal(first[1])
    while missing and used < len(drawn):
        more = drawn[used : used + missing]
        used += len(more)
        parts.append(sample(more, len(parts)))
        missing -= len(more) - _without_signal(parts[-1][1])
    if not used:
        return *first, 0, 0
    prompts, batch = join(parts)
    alive = signal(batch.step_advantages, batch.rollouts.group.cpu()).tolist()
    # Those with signal, then the first without, until there are as many groups as before.
    size = len(first[0])
    order = sorted(range(len(prompts)), key=lambda g: not alive[g])
    keep = sorted(order[: max(size, sum(alive))])
    kept_prompts, kept = subset(prompts, batch, keep)
    return kept_prompts, kept, used, int(batch.rollouts.mask.sum()) - int(kept.rollouts.mask.sum())


def in_turn(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs in rounds with one pair of each label, while they last; each label's pairs keep their order."""
    seen: Counter[str | None] = Counter()
    rounds = []
    for pair in pairs:
        rounds.append(seen[pair.label])
        seen[pair.label] += 1
    return [pairs[i] for i in sorted(range(len(pairs)), key=lambda i: rounds[i])]


def _without_signal(batch: CreditedBatch) -> int:
    return int((~signal(batch.step_advantages, batch.rollouts.group.cpu())).sum())


def join(parts: Sequence[CreditedGroups]) -> CreditedGroups:
    """Several batches as one; shorter responses are padded on the right."""
    width = max(batch.advantages.shape[1] for _, batch in parts)

    def stack(tensors: Sequence[torch.Tensor], fill: float) -> torch.Tensor:
        return torch.cat([torch.nn.functional.pad(t, (0, width - t.shape[1]), value=fill) for t in tensors])

    prompts: Prompts = []
    groups = []
    for own, batch in parts:
        groups.append(batch.rollouts.group + len(prompts))
        prompts = prompts + own
    batches = [batch for _, batch in parts]
    every = [batch.rollouts for batch in batches]
    # Positions after the end of a response are masked everywhere, so any id will do.
    rollouts = Rollouts(
        ids=stack([r.ids for r in every], 0),
        mask=stack([r.mask for r in every], False),
        logprobs=stack([r.logprobs for r in every], 0.0),
        finished=torch.cat([r.finished for r in every]),
        group=torch.cat(groups),
    )
    return prompts, CreditedBatch(
        pairs=[pair for batch in batches for pair in batch.pairs],
        rollouts=rollouts,
        responses=[response for batch in batches for response in batch.responses],
        token_steps=stack([batch.token_steps for batch in batches], -1),
        verdicts=Verdicts(
            np.concatenate([batch.verdicts.values for batch in batches]),
            np.concatenate([batch.verdicts.sources for batch in batches]),
        ),
        outcomes=np.concatenate([batch.outcomes for batch in batches]),
        step_advantages=torch.cat([batch.step_advantages for batch in batches]),
        advantages=stack([batch.advantages for batch in batches], 0.0),
    )


def subset(prompts: Prompts, batch: CreditedBatch, groups: Sequence[int]) -> CreditedGroups:
    """The batch with only these groups, renumbered in their order."""
    position = {group: n for n, group in enumerate(groups)}
    rows = [b for b, group in enumerate(batch.rollouts.group.tolist()) if group in position]
    index = torch.tensor(rows, dtype=torch.long)
    r = batch.rollouts
    rollouts = Rollouts(
        ids=r.ids[index],
        mask=r.mask[index],
        logprobs=r.logprobs[index],
        finished=r.finished[index],
        group=torch.tensor([position[int(r.group[b])] for b in rows], dtype=torch.long),
    )
    return [prompts[g] for g in groups], replace(
        batch,
        pairs=[batch.pairs[b] for b in rows],
        rollouts=rollouts,
        responses=[batch.responses[b] for b in rows],
        token_steps=batch.token_steps[index],
        verdicts=Verdicts(batch.verdicts.values[rows], batch.verdicts.sources[rows]),
        outcomes=batch.outcomes[rows],
        step_advantages=batch.step_advantages[index],
        advantages=batch.advantages[index],
    )
