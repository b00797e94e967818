"""The same rows trained more than once: which folds count, and what the pool of all trainings is."""

import pytest

from taosr_she.bench.real.results import collect
from taosr_she.bench.real.trainings import Fold, covered, said, seconds

PAIRS = {"labels": "0123" * 6, "queries": [n // 4 for n in range(24)], "slices": {}, "raters": [[]] * 24}
RIGHT = PAIRS["labels"]
WRONG = "1230" * 6


def record(predicted: str, spent: float = 60.0) -> dict[str, object]:
    nothing = "-" * len(predicted)
    steps = {step: nothing for step in ("query", "category", "attributes", "label")}
    return {
        "predicted": predicted, "verdicts": steps, "top": predicted, "confidence": "8ff" * len(predicted),
        "decision": "", "seconds": spent, "judging_seconds": 2.0,
    }  # fmt: skip


def cell(**rows: dict[str, object]) -> dict[str, object]:
    return {"pairs": PAIRS, "rows": rows}


def names(folds: list[Fold]) -> list[tuple[str, int]]:
    return [(fold.training, fold.number) for fold in folds]


def test_whole_trainings_count_and_parts_only_where_there_is_no_whole_one() -> None:
    folds = [
        Fold("cpu", 1, cell(tfidf=record(RIGHT), sft=record(RIGHT), full=record(RIGHT))),
        Fold("cpu", 2, cell(tfidf=record(RIGHT), sft=record(RIGHT), dpo=record(RIGHT))),
        Fold("gpu", 1, cell(sft=record(WRONG), full=record(RIGHT))),
        Fold("gpu", 2, cell(sft=record(WRONG), full=record(RIGHT))),
    ]
    assert names(covered(folds, "sft", [1, 2])) == [("cpu", 1), ("cpu", 2), ("gpu", 1), ("gpu", 2)]
    assert names(covered(folds, "full", [1, 2])) == [("gpu", 1), ("gpu", 2)]
    assert names(covered(folds, "dpo", [1, 2])) == [("cpu", 2)] and covered(folds, "srpo", [1, 2]) == []
    # A classic baseline was run once; every training is compared with it.
    assert names(covered(folds, "tfidf", [1, 2])) == names(folds)
    both = said("chorus", covered(folds, "tfidf", [1, 2]), "tfidf")
    assert len({p.pair_id for p in both}) == 4 * 24 and len({p.query_id for p in both}) == 2 * 6


def test_times_of_two_kinds_of_processors_are_not_mixed() -> None:
    folds = [Fold("cpu", n, cell(sft=record(RIGHT, 60.0 * n))) for n in (1, 3)]
    folds.append(Fold("gpu", 1, cell(sft=record(RIGHT, 6.0))))
    assert seconds(folds, "sft") == {
        "cpu": {"training": 120.0, "judging": 2.0}, "gpu": {"training": 6.0, "judging": 2.0},
    }  # fmt: skip


@pytest.mark.filterwarnings("error")
def test_trainings_are_pooled_and_differences_use_what_both_rows_were_tested_on() -> None:
    cpu = {str(n): cell(tfidf=record(WRONG), sft=record(RIGHT)) for n in (1, 2, 3, 4)}
    gpu = {str(n): cell(sft=record(WRONG), srpo=record(RIGHT)) for n in (1, 2, 3, 4)}
    found = collect({"cpu": {"chorus": cpu}, "gpu": {"chorus": gpu}})["settings"]["chorus"]
    assert found["trainings"] == ["cpu", "gpu"] and found["folds"] == [1, 2, 3, 4]
    sft, srpo = found["rows"]["sft"], found["rows"]["srpo"]
    assert sft["metrics"]["accuracy"]["value"] == pytest.approx(0.5) and sft["pairs"] == 4 * 24
    apart = {training: one["macro_f1"] for training, one in sft["repeated"].items()}
    assert apart == {"cpu": pytest.approx(1), "gpu": pytest.approx(0)}
    assert len(sft["repeated"]["gpu"]["qwk_of_folds"]) == 4
    assert srpo["trainings"] == ["gpu"] and srpo["against"]["sft"]["accuracy"]["difference"] == pytest.approx(1)
    assert sft["against"]["tfidf"]["accuracy"]["difference"] == pytest.approx(0.5)
    assert srpo["against"]["tfidf"]["accuracy"]["difference"] == pytest.approx(1)
