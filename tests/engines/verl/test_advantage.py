"""The estimator's advantages are those of our own loop, on the same rollouts and for every rule. Without verl."""

import json
import math
import random

import numpy as np
import pytest
import torch

from taosr_she.base.errors import UserError
from taosr_she.credit.advantages import step_advantages, token_advantages
from taosr_she.credit.config import CreditConfig
from taosr_she.credit.rules import RULES
from taosr_she.domain.pair import Pair
from taosr_she.engines.verl.advantage import srpo
from taosr_she.engines.verl.codes import LEVELS, pack
from taosr_she.engines.verl.examined import Examining
from taosr_she.engines.verl.rows import pair_of, write_rows


def settings(**credit):
    return {"srpo": {"domain": "taobao", "credit": credit}}


@pytest.mark.parametrize("rule", sorted(RULES))
@pytest.mark.parametrize("std", [False, True])
def test_advantages_equal_those_of_our_loop_on_the_same_rollouts(rule, std, groups, tiny, domain, tmp_path):
    records = tmp_path / "annotations.jsonl"
    records.write_text("".join(json.dumps(line(one)) + "\n" for one in groups.annotations))
    batch = groups.credited(tiny, CreditConfig(rule=rule, std=std))
    examining = Examining(tiny.tokenizer, domain, str(records), None, {})
    rewards = torch.zeros(groups.rollouts.ids.shape)
    for row, group in enumerate(groups.rollouts.group.tolist()):
        found = examining.examine(groups.pairs[group], groups.ids(row), tiny.end_ids)
        rewards[row, : len(found.rewards)] = torch.tensor(found.rewards)
    order = torch.randperm(len(rewards), generator=torch.Generator().manual_seed(3))  # verl reorders its batches
    uid = np.array([f"uid{g}" for g in groups.rollouts.group[order].tolist()], dtype=object)
    advantages, returns = srpo(
        token_level_rewards=rewards[order], response_mask=groups.rollouts.mask[order].long(), index=uid,
        config=settings(rule=rule, std=std),
    )  # fmt: skip
    assert bool((batch.advantages != 0).any())
    torch.testing.assert_close(advantages, batch.advantages[order].float(), atol=1e-6, rtol=0)
    assert torch.equal(advantages, returns)


def line(one):
    return {"pair_id": one.pair_id, "step": one.step, "conclusion": one.conclusion, "verdict": one.verdict}


def test_verdicts_between_0_and_1_give_the_advantages_of_their_levels(domain):
    draw = random.Random(5)
    k, lengths = len(domain.steps), [draw.randint(12, 40) for _ in range(16)]
    verdicts = torch.tensor([[draw.choice([math.nan, draw.random()]) for _ in range(k)] for _ in lengths])
    outcomes = torch.tensor([float(draw.random() < 0.5) for _ in lengths])
    steps = torch.full((16, 40), -1)
    rewards = torch.zeros(16, 40)
    for row, length in enumerate(lengths):
        steps[row, :length] = torch.tensor(sorted(draw.choices(range(k), k=length)))
        rewards[row, :length] = pack(steps[row, :length].tolist(), verdicts[row], float(outcomes[row]))
    groups = torch.arange(16) // 4
    found, _ = srpo(rewards, (steps >= 0).long(), np.array([f"u{g}" for g in groups.tolist()]), settings())
    levels = (verdicts.double() * LEVELS).floor() / LEVELS
    by_step = step_advantages(CreditConfig(), levels.float(), outcomes, groups, domain.label_step)
    assert torch.equal(found, token_advantages(by_step, steps))
    exact = step_advantages(CreditConfig(), verdicts, outcomes, groups, domain.label_step)
    torch.testing.assert_close(found, token_advantages(exact, steps), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, r"algorithm.srpo is missing: add \+algorithm.srpo.domain=NAME"),
        ({"srpo": {"domain": "taobao", "rule": "srpo"}}, "algorithm.srpo: rule: unknown key"),
        (settings(rule="best"), "algorithm.srpo: credit.rule: 'best' is none of"),
        (settings(label_weight=0.5), "label_weight: verl gives credit no labels; leave it out"),
        ({"srpo": {"domain": "no.yaml"}}, "domain 'no.yaml' is neither shipped"),
    ],
)
def test_settings_that_are_wrong_are_told_in_one_line(config, message):
    with pytest.raises(UserError, match=message) as error:
        srpo(torch.zeros(1, 2), torch.ones(1, 2), np.array(["u"]), config)
    assert "\n" not in str(error.value)


def test_pairs_become_rows_of_verl_and_pairs_again(tmp_path):
    import pyarrow.parquet as parquet

    pairs, out = tmp_path / "pairs.jsonl", tmp_path / "train.parquet"
    told = [{"pair_id": "a", "query": "red <|im_end|> boots", "title": "Boots", "label": "4", "color": "red"},
            {"pair_id": "b", "query": "lamp", "title": "Lamp", "label": "9"},
            {"pair_id": "c", "query": "lamp", "title": "Lamp"}]  # fmt: skip
    pairs.write_text("".join(json.dumps(row) + "\n" for row in told))
    assert write_rows(pairs, out, "taobao") == 1
    (row,) = parquet.read_table(out).to_pylist()
    assert [turn["role"] for turn in row["prompt"]] == ["system", "user"] and row["data_source"] == "taosr-she"
    pair = pair_of(row)
    assert isinstance(pair, Pair) and (pair.pair_id, pair.label, pair.extra) == ("a", "4", {"color": "red"})
    with pytest.raises(UserError, match=r"no extra_info.pair: make the data with"):
        pair_of({"extra_info": {"index": 0}})
