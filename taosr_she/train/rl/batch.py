"""A batch of rollouts on its way to the loss: parsed, examined, credited."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch

from taosr_she.credit.advantages import signal, step_advantages, token_advantages
from taosr_she.credit.config import CreditConfig
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import Response, parse_response
from taosr_she.domain.spans import decode_response, token_steps
from taosr_she.examine.verdicts import Examiner, OutcomeBy, Verdicts, outcomes
from taosr_she.model.policy import Policy
from taosr_she.model.sampler import Rollouts
from taosr_she.ranks.work import deal, processes, split


@dataclass(frozen=True)
class CreditedBatch:
    """B rollouts with everything that the loss, the metrics and the rollout log need."""

    pairs: list[Pair]  # B, the pair of each rollout
    rollouts: Rollouts
    responses: list[Response]  # B
    token_steps: torch.Tensor  # (B, T) long, -1 for padding
    verdicts: Verdicts  # (B, K)
    outcomes: np.ndarray  # (B,)
    step_advantages: torch.Tensor  # (B, K)
    advantages: torch.Tensor  # (B, T)

    @property
    def rows_with_signal(self) -> torch.Tensor:
        """(B,) bool: whether any advantage in the rollout's group is not zero."""
        groups = self.rollouts.group.cpu()  # 0 to n - 1
        return signal(self.step_advantages, groups)[groups]


@dataclass(frozen=True)
class Learnt:
    """What the loss needs of B rollouts: without texts, it is sent to another process."""

    prompts: list[list[int]]
    rollouts: Rollouts
    advantages: torch.Tensor  # (B, T)
    at: torch.Tensor | None = None  # (B,) position of each label, as in `update_policy`


def share_rows(learnt: Learnt, rows: torch.Tensor) -> list[tuple[Learnt, torch.Tensor]]:
    """The rollouts `rows` for each process, and their places in what it gets; the rows of a group stay together.

    The costliest group first, each goes to the process with the fewest tokens so far."""
    if processes() == 1:
        return [(learnt, rows)]
    r, sizes = learnt.rollouts, learnt.rollouts.mask.sum(dim=1)
    group = r.group.tolist()
    cost = {g: len(learnt.prompts[g]) for g in {group[b] for b in rows.tolist()}}
    for b in rows.tolist():
        cost[group[b]] += int(sizes[b])
    shares: list[list[int]] = [[] for _ in range(processes())]
    for g in sorted(cost, key=lambda g: (-cost[g], g)):
        min(shares, key=lambda share: sum(cost[other] for other in share)).append(g)
    found = []
    for own in shares:
        place = {g: n for n, g in enumerate(own)}
        chosen = [b for b in rows.tolist() if group[b] in place]
        part = Rollouts(
            ids=r.ids[chosen],
            mask=r.mask[chosen],
            logprobs=r.logprobs[chosen],
            finished=r.finished[chosen],
            group=torch.tensor([place[group[b]] for b in chosen], dtype=torch.long),
        )
        at = None if learnt.at is None else learnt.at[chosen]
        prompts = [learnt.prompts[g] for g in own]
        found.append((Learnt(prompts, part, learnt.advantages[chosen], at), torch.arange(len(chosen))))
    return found


def credit_rollouts(
    policy: Policy,
    domain: Domain,
    group_pairs: Sequence[Pair],
    rollouts: Rollouts,
    examiner: Examiner,
    credit: CreditConfig,
    weights: Mapping[str | None, float] | None = None,
    outcome_by: OutcomeBy = "label",
) -> CreditedBatch:
    """Parse, examine and credit B rollouts; `rollouts.group` indexes `group_pairs`. Results are on the CPU.

    `weights`: label -> factor for the outcomes of its pairs (`label_weights`).
    """
    mask, ids = rollouts.mask.cpu(), rollouts.ids.cpu()
    pairs = [group_pairs[g] for g in rollouts.group.tolist()]
    steps = torch.full(ids.shape, -1, dtype=torch.long)
    rows = [(ids[b][mask[b]].tolist(), finished) for b, finished in enumerate(rollouts.finished.tolist())]
    numbers = deal(range(len(rows)))
    found = split(_parsed, [policy.tokenizer, domain], [[rows[b] for b in share] for share in numbers])
    parsed = dict(zip(chain(*numbers), chain(*found), strict=True))
    responses = [parsed[b][0] for b in range(len(rows))]
    for b, (_, of_tokens) in parsed.items():
        steps[b, : len(of_tokens)] = torch.tensor(of_tokens)
    verdicts = examiner.examine(pairs, responses)
    outcome = outcomes(pairs, responses, outcome_by) if verdicts.outcomes is None else verdicts.outcomes
    weight = None if weights is None else torch.tensor([weights[pair.label] for pair in pairs])
    by_step = step_advantages(
        credit, torch.from_numpy(verdicts.values), torch.from_numpy(outcome), rollouts.group.cpu(), domain.label_step,
        weight,
    )  # fmt: skip
    return CreditedBatch(
        pairs, rollouts, responses, steps, verdicts, outcome, by_step, token_advantages(by_step, steps)
    )


def _parsed(tokenizer: Any, domain: Domain, rows: Sequence[tuple[list[int], bool]]) -> list[tuple[Response, list[int]]]:
    """The response of each row of tokens, and the step of each of its tokens."""
    found = []
    for row, finished in rows:
        response = parse_response(domain, decode_response(tokenizer, row), finished)
        found.append((response, token_steps(domain, tokenizer, row, response)))
    return found
