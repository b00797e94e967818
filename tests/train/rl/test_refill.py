"""Groups without signal are replaced, up to a bound; nothing else about a batch changes."""

from collections import Counter

import numpy as np
import pytest
import torch

from taosr_she.credit.advantages import signal
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.response import parse_response
from taosr_she.examine.verdicts import Verdicts
from taosr_she.model.sampler import Rollouts
from taosr_she.train.rl.batch import CreditedBatch
from taosr_she.train.rl.refill import CreditedGroups, in_turn, join, refilled, subset

DOMAIN = load_domain("taobao")
POOL = [Pair(f"p{i}", f"q{i}", "boots", Product("boots"), "4") for i in range(40)]
G = 2


def groups(pairs: list[Pair], width: int = 3) -> CreditedGroups:
    """Groups of two rollouts; pairs with an odd number have signal. Every value tells pair and rollout."""
    numbers = [int(p.pair_id[1:]) for p in pairs for _ in range(G)]
    n = len(numbers)
    values = torch.tensor([[float(100 * x + b % G)] * width for b, x in enumerate(numbers)])
    mask = torch.ones(n, width, dtype=torch.bool)
    mask[::G, -1] = False  # the first rollout of a group is shorter
    sign = torch.tensor([(-1.0) ** b * (x % 2) for b, x in enumerate(numbers)])
    rollouts = Rollouts(values.long(), mask, values, torch.ones(n, dtype=torch.bool), torch.arange(n) // G)
    batch = CreditedBatch(
        pairs=[p for p in pairs for _ in range(G)],
        rollouts=rollouts,
        responses=[parse_response(DOMAIN, f"[label] {x}") for x in numbers],
        token_steps=torch.zeros(n, width, dtype=torch.long).masked_fill(~mask, -1),
        verdicts=Verdicts(np.array(numbers, np.float32)[:, None].repeat(5, 1), np.ones((n, 5), np.int8)),
        outcomes=np.array(numbers, np.float32),
        step_advantages=sign[:, None].repeat(1, 5),
        advantages=sign[:, None] * mask,
    )
    return [[int(p.pair_id[1:])] * 2 for p in pairs], batch


def check(prompts: list[list[int]], batch: CreditedBatch) -> None:
    """Every row still belongs to its pair."""
    for b, pair in enumerate(batch.pairs):
        number = int(pair.pair_id[1:])
        assert prompts[int(batch.rollouts.group[b])][0] == number == batch.outcomes[b] == batch.verdicts.values[b, 0]
        assert batch.responses[b].text.endswith(str(number))
        length = int(batch.rollouts.mask[b].sum())
        assert batch.rollouts.mask[b, :length].all() and (batch.rollouts.ids[b, :length] // 100 == number).all()
        assert (batch.token_steps[b] >= 0).tolist() == batch.rollouts.mask[b].tolist()
        assert (batch.advantages[b, length:] == 0).all()


@pytest.mark.parametrize("bound", [0, 1, 3, 50])
def test_replaced_up_to_the_bound(bound: int) -> None:
    first = groups([POOL[i] for i in (0, 1, 2, 3, 4, 6)])  # four without signal
    asked: list[list[str]] = []

    def sample(pairs: list[Pair], round_: int) -> CreditedGroups:
        asked.append([p.pair_id for p in pairs])
        assert round_ == len(asked)
        return groups(pairs, width=3 + round_)

    prompts, batch, used, spent = refilled(first, POOL, bound, 1, 7, sample)
    check(prompts, batch)
    drawn = [pair_id for pairs in asked for pair_id in pairs]
    assert (
        used == len(drawn) <= bound
        and len(set(drawn)) == used
        and not {"p0", "p1", "p2", "p3", "p4", "p6"} & set(drawn)
    )
    alive = signal(batch.step_advantages, batch.rollouts.group)
    useful = 2 + sum(int(pair_id[1:]) % 2 for pair_id in drawn)
    assert int(alive.sum()) == useful and len(prompts) == max(6, useful)
    if bound == 50:
        assert useful >= 6  # it goes on until the batch is full
    everything = int(first[1].rollouts.mask.sum())
    assert spent == everything + _tokens(asked) - int(batch.rollouts.mask.sum())
    again = refilled(first, POOL, bound, 1, 7, lambda pairs, round_: groups(pairs, width=3 + round_))
    assert torch.equal(again[1].rollouts.ids, batch.rollouts.ids)


def _tokens(asked: list[list[str]]) -> int:
    return sum(len(pairs) * (2 * (3 + n) - 1) for n, pairs in enumerate(asked, start=1))


def test_a_full_batch_or_an_empty_pool_changes_nothing() -> None:
    full = groups([POOL[i] for i in (1, 3)])
    for first, pool in ((full, POOL), (groups(POOL[:3]), POOL[:3])):
        prompts, batch, used, spent = refilled(first, pool, 9, 1, 1, lambda pairs, round_: pytest.fail("sampled"))
        assert (prompts, used, spent) == (first[0], 0, 0) and batch is first[1]


def test_join_then_subset_gives_back_the_parts() -> None:
    a, b = groups(POOL[:3]), groups(POOL[3:5], width=6)
    prompts, batch = join([a, b])
    check(prompts, batch)
    for place, part in ((range(3), a), (range(3, 5), b)):
        own_prompts, own = subset(prompts, batch, list(place))
        width = part[1].advantages.shape[1]
        assert own_prompts == part[0] and own.pairs == part[1].pairs
        assert (
            torch.equal(own.rollouts.mask[:, :width], part[1].rollouts.mask) and not own.rollouts.mask[:, width:].any()
        )
        assert torch.equal(own.advantages[:, :width], part[1].advantages)
        assert torch.equal(own.rollouts.group, part[1].rollouts.group)


def test_balanced_refill_takes_labels_in_turn() -> None:
    pool = [Pair(f"p{i}", f"q{i}", "boots", Product("boots"), "4" if i < 36 else "1") for i in range(2, 40)]
    asked: list[str | None] = []

    def sample(pairs: list[Pair], round_: int) -> CreditedGroups:
        asked.extend(p.label for p in pairs)
        return groups(pairs)

    refilled(groups([POOL[0]] * 1), pool, 6, 1, 0, sample, balance=True)
    assert (1 <= len(asked) <= 6 and asked == ["4", "1", "4", "1", "4", "1"][: len(asked)]) or asked[0] == "1"
    many = in_turn(pool)
    assert Counter(p.label for p in many[:8]) == {"4": 4, "1": 4} and sorted(p.pair_id for p in many) == sorted(
        p.pair_id for p in pool
    )
