"""Predictions are judgements beside what people say of the pairs."""

import math
from dataclasses import replace

import pytest

import taosr_she.judge.pairs
from taosr_she import Judge, Pair
from taosr_she.domain.pair import Annotation
from taosr_she.evaluate.run import predict, predict_in_parts
from taosr_she.examine.verifier import Verifier


@pytest.fixture
def labelled(pairs: list[Pair]) -> list[Pair]:
    return [replace(pair, label="E", tags=("boots",)) for pair in pairs]


def test_a_prediction_is_the_judgement_with_label_and_verdicts(judge: Judge, labelled: list[Pair]) -> None:
    known = Annotation(pair_id=labelled[1].pair_id, step="category", conclusion="other")
    verifier = Verifier(judge.domain, [known])
    predictions, tokens, speed = predict(judge.policy, judge.domain, labelled, verifier, 128, 64)
    assert tokens > speed > 0
    for pair, found, prediction in zip(labelled, judge(labelled), predictions, strict=True):
        assert (prediction.pair_id, prediction.query_id, prediction.label) == (pair.pair_id, pair.query_id, "E")
        assert prediction.predicted == found.label and prediction.reason is None
        assert found.probabilities is not None and prediction.probs == tuple(found.probabilities.values())
        assert prediction.steps == tuple(found.steps.values())
        assert (prediction.response, prediction.tokens) == (found.response, found.tokens)
        assert prediction.tags == ("boots",)
    category = judge.domain.step_keys.index("category")
    assert predictions[1].verdicts[category] == 0.0 and math.isnan(predictions[0].verdicts[category])


def test_parts_are_the_whole(judge: Judge, labelled: list[Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = Verifier(judge.domain, [])
    whole, *_ = predict(judge.policy, judge.domain, labelled, verifier, 128, 3)
    monkeypatch.setitem(taosr_she.judge.pairs.PART_PAIRS, "cpu", 3)
    parts = list(predict_in_parts(judge.policy, judge.domain, labelled, verifier, 128))
    assert [len(part) for part in parts] == [3, 3, 2]
    found = [prediction for part in parts for prediction in part]
    assert [(p.pair_id, p.response) for p in found] == [(p.pair_id, p.response) for p in whole]
