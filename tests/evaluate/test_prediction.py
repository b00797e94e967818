import json
import math
from dataclasses import astuple
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.base.errors import UserError
from taosr_she.evaluate.prediction import Prediction, read_predictions, write_predictions

SHARES = st.floats(0, 1) | st.just(math.nan)
PREDICTIONS = st.builds(
    Prediction,
    pair_id=st.text(), query_id=st.text(), label=st.none() | st.text(), predicted=st.none() | st.text(),
    probs=st.none() | st.lists(SHARES).map(tuple), response=st.text(st.characters(exclude_categories=())),
    reason=st.none() | st.text(), steps=st.lists(st.none() | st.text()).map(tuple),
    verdicts=st.lists(SHARES).map(tuple), tags=st.lists(st.text()).map(tuple), tokens=st.integers(0, 10**9),
)  # fmt: skip
ONE = Prediction("p1", "q1", "4", "3", (0.1, 0.9), "[label] 3", None, ("[label] 3",), (0.0, math.nan), ("tail",), 7)


@given(st.lists(PREDICTIONS, max_size=4))
def test_round_trip_is_exact(tmp_path_factory: pytest.TempPathFactory, predictions: list[Prediction]) -> None:
    path = tmp_path_factory.mktemp("round") / "p.jsonl"
    write_predictions(path, predictions)
    # repr tells every float and NaN apart; NaN does not equal itself.
    assert [repr(astuple(p)) for p in read_predictions(path)] == [repr(astuple(p)) for p in predictions]


def test_nan_is_null_and_every_line_is_json(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    write_predictions(path, [ONE])
    row = json.loads(path.read_text("utf-8"), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert row["verdicts"] == [0.0, None] and row["probs"] == [0.1, 0.9]
    assert [p.name for p in tmp_path.iterdir()] == ["p.jsonl"]


@given(st.data())
def test_a_truncated_file_names_the_line_or_ends_at_one(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cut") / "p.jsonl"
    write_predictions(path, [ONE, ONE])
    whole = path.read_bytes()
    length = len(whole) // 2
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    if cut % length in (0, length - 1):  # whole lines, the last perhaps without its line end
        assert [repr(p) for p in read_predictions(path)] == [repr(ONE)] * ((cut + 1) // length)
    else:
        with pytest.raises(UserError, match=rf"p\.jsonl, line {cut // length + 1}: "):
            read_predictions(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("[1]", "expected a JSON object"),
        ("", "Expecting value"),
        ("[" * 100_000, "recursion"),
        ({"verdicts": ["right"]}, r"verdicts\.0: "),
        ({"verdicts": None}, "verdicts: "),
        ({"tokens": "many"}, "tokens: "),
        ({"score": 1}, r"unknown \['score'\]"),
        ({"label": ...}, r"missing \['label'\]"),
    ],
)
def test_a_broken_line_names_file_line_and_fault(tmp_path: Path, change: str | dict, message: str) -> None:
    path = tmp_path / "p.jsonl"
    write_predictions(path, [ONE])
    good = path.read_text("utf-8")
    if isinstance(change, dict):
        row = {**json.loads(good), **change}
        change = json.dumps({key: value for key, value in row.items() if value is not ...})
    path.write_text(good + change + "\n", "utf-8")
    with pytest.raises(UserError, match=rf"predictions .*p\.jsonl, line 2: .*{message}") as caught:
        read_predictions(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_predictions(tmp_path / "p.jsonl")
    (tmp_path / "p.jsonl").write_bytes(b"\x80\xff{}\n")
    with pytest.raises(UserError, match="line 1"):
        read_predictions(tmp_path / "p.jsonl")
