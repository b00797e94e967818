"""The quality of the GSRM on real pairs, pooled over folds."""

import json
from pathlib import Path

import pytest

from taosr_she.bench.real.examined import encode_examined, examined
from taosr_she.bench.real.trainings import Fold
from taosr_she.data.write import write_pairs
from taosr_she.domain.pair import Pair, Product

STEPS = ("query", "label")


def record(queries: list[int], truth: list[list[float | None]], values: list[list[float | None]]) -> dict[str, object]:
    return {"rows": {"srpo": {}, "hybrid": {"gsrm": {"queries": queries, "truth": truth, "values": values}}}}


def test_folds_are_pooled_and_known_steps_alone_count() -> None:
    folds = [
        Fold("cpu", 1, record([0, 0], [[1, 0], [None, 1]], [[0.9, 0.2], [0.1, 0.8]])),
        Fold("cpu", 3, record([0], [[0, 0]], [[0.6, 0.4]])),
    ]
    found = examined(folds, STEPS, 200)
    assert found["folds"] == [1, 3] and found["responses"] == 3
    gsrm, control = found["examiners"]["gsrm"], found["examiners"]["always_correct"]
    assert gsrm["accuracy"]["value"] == pytest.approx(4 / 5) and control["accuracy"]["value"] == pytest.approx(2 / 5)
    rate = found["examiners"]["base_rate"]  # query: one of two, so half of them is right; label: one of three
    assert (rate["accuracy_query"]["value"], rate["accuracy_label"]["value"]) == (1 / 2, pytest.approx(2 / 3))
    assert rate["ece"]["value"] == pytest.approx(0)
    assert gsrm["accuracy_query"]["value"] == pytest.approx(1 / 2) and gsrm["accuracy_label"]["value"] == 1
    # Query 0 of fold 1 is another one than query 0 of fold 3, and its two responses are drawn together.
    assert (gsrm["accuracy"]["low"], gsrm["accuracy"]["high"]) == (1 / 2, 1)
    assert "first_error_f1" not in gsrm, "no known response is clean"


def test_rows_of_a_fold_share_their_gsrm_and_without_one_there_is_nothing() -> None:
    fold = record([0], [[1, 1]], [[0.9, 0.2]])
    fold["rows"]["full"] = fold["rows"]["hybrid"]  # type: ignore[index]
    twice = [Fold("cpu", 2, fold), Fold("gpu", 2, fold)]
    assert examined(twice[:1], STEPS, 100)["responses"] == 1
    found = examined(twice, STEPS, 100)
    assert (found["responses"], found["folds"], found["trainings"]) == (2, [2], ["cpu", "gpu"])
    assert examined([], STEPS, 100) == {}


def test_what_a_stage_said_is_kept_by_query(tmp_path: Path) -> None:
    pairs = [Pair(f"p{n}", f"q{n // 2}", "boots", Product("boots"), label="E") for n in range(4)]
    (tmp_path / "data").mkdir()
    (tmp_path / "gsrm").mkdir()
    write_pairs(tmp_path / "data" / "development.jsonl", pairs)
    said = {"pair_ids": ["p2", "p0", "p3"], "people": [[1, None]] * 3, "examiners": {"gsrm": [[0.123456, 1]] * 3}}
    (tmp_path / "gsrm" / "held_out_verdicts.json").write_text(json.dumps(said))
    assert encode_examined(tmp_path) == {
        "queries": [0, 1, 0], "truth": [[1, None]] * 3, "values": [[0.1235, 1]] * 3,
    }  # fmt: skip
