"""Judgements of pairs: their label probabilities come from decoding."""

import pytest

from taosr_she import Judge, Pair
from taosr_she.engine.speedups import without
from taosr_she.judge.pairs import judge_pairs
from taosr_she.model.sampling import Sampling


@pytest.mark.parametrize("temperature", [0.0, 1.5])
@pytest.mark.parametrize("max_new_tokens", [128, 8])
def test_probabilities_are_those_of_a_pass_of_its_own(
    temperature: float, max_new_tokens: int, judge: Judge, pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    how = Sampling(max_new_tokens=max_new_tokens, temperature=temperature)
    with without("labels_in_decoding"):
        slow = judge_pairs(judge.policy, judge.domain, pairs, how, 3, seed=2).judgements
    if temperature == 0:  # every response is whole, or none comes to a label: there is nothing to run again
        monkeypatch.setattr("taosr_she.model.label_probs.next_logits", None)
    ours = judge_pairs(judge.policy, judge.domain, pairs, how, 3, seed=2).judgements
    assert ours[0].probabilities is not None or max_new_tokens == 8
    for found, expected in zip(ours, slow, strict=True):
        assert found.response == expected.response and found.tokens == expected.tokens > 0
        assert found.probabilities == (expected.probabilities and pytest.approx(expected.probabilities, abs=1e-6))
