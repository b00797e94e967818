import datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taosr_she.base.errors import UserError
from taosr_she.data.tables import is_dataset, read_dataset, read_parquet


def test_values_become_plain(tmp_path) -> None:
    table = pa.table(
        {
            "n": [1, None, 3],
            "x": [1.5, float("nan"), None],
            "day": [datetime.date(2026, 1, 2)] * 3,
            "cost": [Decimal("1.50")] * 3,
            "raw": [b"abc", "é".encode(), None],
            "map": pa.array([[("k", "v")], [], None], pa.map_(pa.string(), pa.string())),
            "tags": [["a"], [], None],
        }
    )
    pq.write_table(table, tmp_path / "x.parquet")
    rows = list(read_parquet(tmp_path / "x.parquet"))
    assert rows[0] == (
        1, {"n": 1, "x": 1.5, "day": "2026-01-02", "cost": "1.50", "raw": "abc", "map": {"k": "v"}, "tags": ["a"]},
    )  # fmt: skip
    assert rows[1][1]["x"] is None
    assert rows[1][1]["raw"] == "é"


def test_what_is_not_utf8_stays_bytes_and_what_python_cannot_hold_is_text(tmp_path) -> None:
    bad = pa.array([b"good", b"\xff", b"a\0b"], pa.binary())
    columns = {
        "a": bad, "b": bad.view(pa.string()), "n": [1, 2, 3],
        "far": pa.array([2**40, 0, None], pa.timestamp("s")),
        "zone": pa.array([0, None, 1], pa.timestamp("s", tz="Foo/Bar")),
        "map": pa.array([[("k", 1), ("k", 2)], [("k", 1)], []], pa.map_(pa.string(), pa.int64())),
    }  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    rows = [row for _, row in read_parquet(tmp_path / "x.parquet")]
    assert [row["a"] for row in rows] == ["good", b"\xff", b"a\0b"]
    assert [row["b"] for row in rows] == ["good", b"\xff", "a\0b"]
    assert [row["n"] for row in rows] == [1, 2, 3]
    assert [row["far"] for row in rows] == ["<value out of range: 1099511627776000>", "1970-01-01 00:00:00", None]
    assert [row["zone"] for row in rows] == [
        "<timestamp[ms, tz=Foo/Bar]: 0>",
        None,
        "<timestamp[ms, tz=Foo/Bar]: 1000>",
    ]
    assert [row["map"] for row in rows] == [[["k", 1], ["k", 2]], {"k": 1}, []]


def test_numbers_go_on_over_batches(tmp_path) -> None:
    pq.write_table(pa.table({"n": list(range(2500))}), tmp_path / "x.parquet")
    assert [(n, row["n"]) for n, row in read_parquet(tmp_path / "x.parquet")] == [(i + 1, i) for i in range(2500)]


@pytest.mark.parametrize("content", [b"", b"PAR1 and then nothing", b"a,b\n1,2\n"])
def test_other_files_are_refused(tmp_path, content: bytes) -> None:
    (tmp_path / "x.parquet").write_bytes(content)
    with pytest.raises(UserError, match="not a readable Parquet file"):
        list(read_parquet(tmp_path / "x.parquet"))


def test_two_columns_of_one_name_are_refused(tmp_path) -> None:
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), tmp_path / "x.parquet")
    with pytest.raises(UserError, match="two columns are called a"):
        list(read_parquet(tmp_path / "x.parquet"))


def test_datasets_on_disk(tmp_path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"q": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])})
    data = datasets.Dataset.from_dict({"q": ["a", "b", "c"], "label": [1, 0, None]}, features=features)
    datasets.DatasetDict({"train": data, "test": data.select([1])}).save_to_disk(str(tmp_path / "splits"))
    data.select([2, 0]).save_to_disk(str(tmp_path / "one"))  # select keeps an index into the whole table

    assert is_dataset(tmp_path / "splits")
    assert not is_dataset(tmp_path)
    named = [(1, {"q": "a", "label": "good"}), (2, {"q": "b", "label": "bad"}), (3, {"q": "c", "label": None})]
    assert list(read_dataset(tmp_path / "splits", "train")) == named
    assert [row["q"] for _, row in read_dataset(tmp_path / "one")] == ["c", "a"]
    for split, message in ((None, "several splits; choose one with 'split': train, test"), ("dev", "no split 'dev'")):
        with pytest.raises(UserError, match=message):
            list(read_dataset(tmp_path / "splits", split))
    with pytest.raises(UserError, match="a dataset without splits"):
        list(read_dataset(tmp_path / "one", "train"))
    (tmp_path / "one" / "state.json").write_text("{}")
    with pytest.raises(UserError, match="not a readable Hugging Face dataset"):
        list(read_dataset(tmp_path / "one"))
