"""Predictions are judgements beside what people say of the pairs."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

import taosr_she.judge.pairs
from taosr_she import Judge, Pair
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Annotation
from taosr_she.evaluate.prediction import Prediction
from taosr_she.evaluate.run import aligned, predict, predict_in_parts
from taosr_she.examine.verifier import Verifier
from taosr_she.model.policy import load_policy


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


def test_in_mode_label_nothing_is_known_of_the_steps_that_were_not_asked_for(
    first_folder: Path, label_first: Domain, labelled: list[Pair]
) -> None:
    policy = load_policy(first_folder, "cpu")
    known = [Annotation(pair_id=pair.pair_id, step="category", conclusion="same") for pair in labelled]
    verifier = Verifier(label_first, known)
    found, tokens, speed = predict(policy, label_first, labelled, verifier, 8, 64, "label")
    assert (tokens, speed > 0) == (0, True)
    for p in found:
        assert p.verdicts[0] == float(p.predicted == "E") and all(map(math.isnan, p.verdicts[1:]))
        assert (p.response, p.steps) == ("", (p.predicted, None, None, None, None))
    parts = predict_in_parts(policy, label_first, labelled, verifier, 8, mode="label")
    assert [str(p.verdicts) for part in parts for p in part] == [str(p.verdicts) for p in found]
    whole = predict(policy, label_first, labelled, verifier, 128, 64).predictions
    category = label_first.step_keys.index("category")
    assert [p.verdicts[category] for p in whole] == [1.0] * len(whole)


def test_predictions_of_another_order_are_put_in_that_of_the_run(label_first: Domain, domain: Domain) -> None:
    one = Prediction("p", "q", "E", "E", steps=tuple(label_first.step_keys), verdicts=(0.0, 0.1, 0.2, 0.3, 0.4))
    (found,) = aligned(domain, label_first, [one])
    assert found == replace(one, steps=domain.step_keys, verdicts=(0.1, 0.2, 0.3, 0.4, 0.0))
    (alone,) = aligned(domain, label_first.label_alone(), [replace(one, steps=("E",), verdicts=(1.0,))])
    assert alone.steps == (None, None, None, None, "E") and alone.verdicts[4] == 1.0
    assert all(map(math.isnan, alone.verdicts[:4]))
