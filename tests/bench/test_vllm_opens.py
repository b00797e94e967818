"""Where our responses and vLLM's part: the token, the gaps, the labels. vLLM itself is not part of the tests."""

# ruff: noqa: F811

from pathlib import Path

import pytest
import torch
from rich.console import Console
from toy_models import domain, pair, small, texts, tiny  # noqa: F401

from taosr_she.base.errors import UserError
from taosr_she.bench import vllm_opens
from taosr_she.bench.vllm_opens import TIE, differences, measure_vllm, our_responses
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.model.policy import Policy


def test_the_gap_is_that_of_the_two_best_tokens_where_the_responses_part(
    tiny: Policy,
    domain: Domain,
    pair: Pair,
) -> None:
    prompt = tiny.tokenizer("red running shoes")["input_ids"]
    (ours,) = our_responses(tiny, [prompt], 6).ids
    header = tiny.tokenizer.get_vocab()["\n[label]"]
    other = [*ours[:3], header, *ours[4:]]
    found = differences(tiny, domain, [pair, pair], [prompt] * 2, [ours] * 2, [ours, other], [[0.0] * 6, [2 * TIE] * 6])
    (one,) = found
    with torch.inference_mode():
        logits = tiny.model(input_ids=torch.tensor([prompt + ours[:3]])).logits[0, -1]
    best = logits.log_softmax(-1).sort(descending=True)
    assert int(best.indices[0]) == ours[3]
    assert (one.pair_id, one.place) == ("p1", 3) and one.our_gap == pytest.approx(
        float(best.values[0] - best.values[1])
    )
    assert one.ours == tiny.tokenizer.decode([ours[3]]) and one.vllm == "\n[label]"
    assert one.vllm_gap == 2 * TIE and not one.tie and one.labels == (None, None)


def test_a_response_that_ends_earlier_is_a_difference(tiny: Policy, domain: Domain, pair: Pair) -> None:
    prompt = tiny.tokenizer("red running shoes")["input_ids"]
    (ours,) = our_responses(tiny, [prompt], 6).ids
    (one,) = differences(tiny, domain, [pair], [prompt], [ours], [ours[:2]], [[0.0, 0.0]])
    assert (one.place, one.vllm) == (2, "(end)") and not one.tie


def test_without_vllm_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vllm_opens, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"bench vllm: vLLM is not installed here; docs/scale.md says how"):
        measure_vllm(Console(), tmp_path, "model", tmp_path / "pairs.jsonl", 2, "float32", 4)
