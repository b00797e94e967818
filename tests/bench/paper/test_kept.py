"""What is kept of a cell has the metrics of the whole, and stays while it is what would be run today."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.base.errors import UserError
from taosr_she.bench.paper import kept
from taosr_she.bench.paper.kept import gather, planned_prints, read_cells, write_cells
from taosr_she.bench.paper.settings import SETTINGS
from taosr_she.bench.predictions import decode, encode, encode_pairs
from taosr_she.domain.domain import load_domain
from taosr_she.evaluate.intervals import resampled_metrics
from taosr_she.evaluate.metrics import compute_metrics
from taosr_she.evaluate.prediction import Prediction

DOMAIN = load_domain("taobao")
NAN = float("nan")
CODES = st.sampled_from(DOMAIN.codes)


@st.composite
def answers(draw: st.DrawFn) -> list[Prediction]:
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from("abc"), CODES, st.none() | CODES,
                st.none() | st.lists(st.floats(0.01, 1), min_size=4, max_size=4),
                st.lists(st.sampled_from([0.0, 1.0, NAN]), min_size=5, max_size=5),
                st.sets(st.sampled_from(["tail", "head"])),
            ),
            min_size=1, max_size=12,
        )
    )  # fmt: skip
    return [
        Prediction(f"p{i}", query, label, predicted, probs=None if weights is None else tuple(normal(weights)),
                   verdicts=tuple(verdicts), tags=tuple(tags))
        for i, (query, label, predicted, weights, verdicts, tags) in enumerate(rows)
    ]  # fmt: skip


def normal(weights: list[float]) -> list[float]:
    return [w / sum(weights) for w in weights]


@given(answers())
def test_what_is_kept_has_the_same_metrics_and_resamples(predictions: list[Prediction]) -> None:
    pairs = json.loads(json.dumps(encode_pairs(DOMAIN, predictions, ["tail"])))
    again = decode(DOMAIN, pairs, json.loads(json.dumps(encode(DOMAIN, predictions))))
    assert [p.tags == ("tail",) for p in again] == ["tail" in p.tags for p in predictions]
    before, after = compute_metrics(DOMAIN, predictions), compute_metrics(DOMAIN, again)
    assert before.pop("ece") == pytest.approx(after.pop("ece"), abs=2e-4, nan_ok=True)
    assert before == pytest.approx(after, nan_ok=True, abs=1e-12)
    drawn = [resampled_metrics(DOMAIN, rows, 20, 0)["macro_f1"] for rows in (predictions, again)]
    np.testing.assert_allclose(*drawn)


def test_kept_cells_come_back_and_the_same_cells_are_the_same_bytes(tmp_path: Path) -> None:
    assert read_cells(tmp_path) == {}
    cells = {"long_tail": {"11": {"pairs": {"labels": "01"}, "methods": {"sft": {"fingerprint": "a"}}}}}
    write_cells(tmp_path, cells)
    first = (tmp_path / kept.FILE).read_bytes()
    assert read_cells(tmp_path) == cells
    write_cells(tmp_path, cells)
    assert (tmp_path / kept.FILE).read_bytes() == first and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("cut", [0, 1, 30])
def test_damaged_cells_are_one_line(tmp_path: Path, cut: int) -> None:
    write_cells(tmp_path, {"long_tail": {}})
    file = tmp_path / kept.FILE
    file.write_bytes(b"x" if cut == 0 else file.read_bytes()[:cut])
    with pytest.raises(UserError, match=r"cells\.json\.gz: damaged .* delete it to run its cells again"):
        read_cells(tmp_path)


def test_a_cell_made_with_other_settings_goes(tmp_path: Path) -> None:
    prints = planned_prints(tmp_path, "long_tail")
    assert prints is not None
    methods = {"sft": {"fingerprint": prints["sft", 11]}, "grpo": {"fingerprint": "of other settings"},
               "tfidf": {"fingerprint": prints["sft", 11]}}  # fmt: skip
    earlier = {"long_tail": {"11": {"pairs": {"labels": "01"}, "methods": methods}}}
    found = gather(tmp_path, earlier)["long_tail"]["11"]
    assert found["methods"].keys() == {"sft", "tfidf"} and found["pairs"] == {"labels": "01"}


def test_without_the_data_nothing_can_be_out_of_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the file of real pairs is not there
    earlier = {"esci": {"11": {"pairs": {}, "methods": {"grpo": {"fingerprint": "old"}}}}}
    assert gather(tmp_path, earlier)["esci"] == earlier["esci"]


def test_prints_follow_what_a_cell_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = planned_prints(tmp_path, "long_tail")
    assert before is not None and ("full", 11) in before and ("std", 14) not in before
    assert planned_prints(tmp_path / "elsewhere", "long_tail") == before
    changed = type(SETTINGS["long_tail"])(**vars(SETTINGS["long_tail"]) | {"tiny": {"layers": 3}})
    monkeypatch.setitem(kept.SETTINGS, "long_tail", changed)
    after = planned_prints(tmp_path, "long_tail")
    assert after is not None and after.keys() == before.keys() and not set(after.values()) & set(before.values())
