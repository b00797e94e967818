"""Responses sampled outside the training loop, beside the sampler and the parser they are made of."""

import pytest
import torch
from toy_models import RESPONSE

from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.response import parse_response
from taosr_she.domain.spans import decode_response
from taosr_she.model.policy import Policy
from taosr_she.model.responses import parse_rollouts, sample_responses
from taosr_she.model.sampler import Rollouts, Sampling, sample_groups
from taosr_she.model.tiny import TinyConfig, build_tiny

PAIRS = [Pair(f"p{n}", "q", f"red shoes {n}", Product("Blue shoes")) for n in range(3)]


@pytest.fixture
def roomy(texts: list[str], domain: Domain, small: TinyConfig) -> Policy:
    """With positions for the whole prompt of the domain."""
    return build_tiny(texts, domain, small.model_copy(update={"max_positions": 2560}), seed=1)


def test_the_groups_of_the_pairs_in_order_however_many_run_at_a_time(roomy: Policy, domain: Domain) -> None:
    sampling = Sampling(max_new_tokens=6)
    sampled = sample_responses(roomy, domain, PAIRS, 2, sampling, seed=4, rows=6)
    assert [p.pair_id for p in sampled.pairs] == ["p0", "p0", "p1", "p1", "p2", "p2"]
    rollouts = sample_groups(roomy, [roomy.encode_prompt(domain, p) for p in PAIRS], 2, sampling, seed=4)
    ids = [row[mask].tolist() for row, mask in zip(rollouts.ids, rollouts.mask, strict=True)]
    texts = [decode_response(roomy.tokenizer, row) for row in ids]
    assert [r.text for r in sampled.responses] == texts and len(set(texts)) > 2
    assert sampled.tokens == [len(row) for row in ids]
    assert sample_responses(roomy, domain, PAIRS, 2, sampling, seed=4, rows=2) == sampled


def test_what_the_length_limit_cut_is_malformed_even_if_nothing_is_missing(tiny: Policy, domain: Domain) -> None:
    ids = torch.tensor([tiny.tokenizer.encode(RESPONSE, add_special_tokens=False)] * 2)
    ended, group = torch.tensor([True, False]), torch.zeros(2, dtype=torch.long)
    rollouts = Rollouts(ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros(ids.shape), ended, group)
    finished, cut = parse_rollouts(tiny, domain, rollouts)
    assert finished == parse_response(domain, finished.text) and finished.well_formed and finished.label == "3"
    assert cut.text == finished.text and cut.reason == "cut off"
