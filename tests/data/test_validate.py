import csv
import gzip
import io
import json
import random
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.base.errors import UserError
from taosr_she.data.read import read_pairs
from taosr_she.data.rows import REASONS
from taosr_she.data.validate import is_any, load_pairs
from taosr_she.data.write import write_pairs
from taosr_she.domain.domain import load_domain

TAOBAO = load_domain("taobao")
COLUMNS = ("pair_id", "query_id", "query", "locale", "title", "price", "attributes", "label", "note")


def good(n: int) -> dict[str, Any]:
    return {"pair_id": f"p{n}", "query_id": f"q{n // 4}", "query": f"red shoe {n // 4}", "locale": "us",
            "title": f"Shoe, \"model {n}\"", "price": str(n), "attributes": '{"color": "red"}',
            "label": str(n % 4 + 1), "note": f"line\n{n}"}  # fmt: skip


# What to change in a good row (n is its number; row 0 is good and stands before all) so that it breaks.
CELL_DEFECTS: dict[str, Any] = {
    "empty query": lambda n: {"query": " \u200b "},
    "empty title": lambda n: {"title": "\t"},
    "missing query": lambda n: {"query": None},
    "missing title": lambda n: {"title": None},
    "missing label": lambda n: {"label": None},
    "unknown label": lambda n: {"label": "perhaps"},
    "bad attributes": lambda n: {"attributes": "color=red"},
    "text too long": lambda n: {"query": "x" * 3000},
    "duplicate pair id": lambda n: {"pair_id": "p0"},
    "conflicting query id": lambda n: {"query_id": "q0", "query": f"blue hat {n}"},
    "same pair with another label": lambda n: {**good(0), "pair_id": f"p{n}", "label": "4"},
    "null byte": lambda n: {"title": "a\0b"},
    "bad id": lambda n: {"pair_id": 0.5},
    "locale not a string": lambda n: {"locale": 5},
    "wrong type": lambda n: {"title": ["Shoe"]},
}
LINE_DEFECTS: dict[str, dict[str, Any]] = {
    "jsonl": {
        "broken json": lambda line: line[:-3],
        "not an object": lambda line: b"[" + line + b"]",
        "wrong encoding": lambda line: line.replace(b"red", b"r\xe9d"),
    },
    "csv": {
        "wrong number of columns": lambda line: line.replace(b",us,", b",us,us,"),
        "broken quotes": lambda line: b'"' + line.replace(b'"', b"").replace(b"\n", b" ") + b"",
        "wrong encoding": lambda line: line.replace(b"red", b"r\xe9d"),
    },
}
LINE_DEFECTS["tsv"] = LINE_DEFECTS["csv"] | {
    "wrong number of columns": lambda line: line.replace(b"\tus\t", b"\tus\tus\t"),
    # With the right number of cells, such a line would be read as it stands: few TSV writers quote.
    "broken quotes": lambda line: LINE_DEFECTS["csv"]["broken quotes"](line).replace(b"\tus\t", b"\tus\tus\t"),
}
TWELVE = {
    "jsonl": ["broken json", "not an object", "wrong encoding", "missing query", "empty title", "unknown label",
              "bad id", "null byte", "locale not a string", "wrong type", "same pair with another label",
              "conflicting query id"],
    "csv": ["wrong number of columns", "broken quotes", "wrong encoding", "missing query", "empty title",
            "missing label", "unknown label", "bad attributes", "null byte", "duplicate pair id", "text too long",
            "conflicting query id"],
    "parquet": ["missing query", "empty query", "missing title", "empty title", "missing label", "unknown label",
                "null byte", "bad attributes", "duplicate pair id", "same pair with another label", "text too long",
                "conflicting query id"],
}  # fmt: skip
TWELVE["tsv"] = TWELVE["csv"]


def encode(row: dict[str, Any], kind: str) -> bytes:
    if kind == "jsonl":
        return json.dumps(row, ensure_ascii=False).encode()
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t" if kind == "tsv" else ",", lineterminator="\r\n")
    writer.writerow("" if row[c] is None else row[c] for c in COLUMNS)
    return text.getvalue().removesuffix("\r\n").encode()


def write_broken_file(path: Path, kind: str) -> dict[int, str]:
    """1,000 rows, 5 of each of the format's 12 defects among them; returns row number -> reason."""
    places = random.Random(kind).sample(range(1, 1000), 60)
    defects = {place: TWELVE[kind][i % 12] for i, place in enumerate(places)}
    rows = [good(n) | CELL_DEFECTS.get(defects.get(n, ""), lambda n: {})(n) for n in range(1000)]
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        lines = [encode(row, kind) for row in rows]
        for n, reason in defects.items():
            lines[n] = LINE_DEFECTS[kind].get(reason, bytes)(lines[n])
        if kind != "jsonl":
            lines.insert(0, encode(dict(zip(COLUMNS, COLUMNS, strict=True)), kind))
        content = b"\n".join(lines) + b"\n"
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return {n + 1: reason for n, reason in defects.items()}


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.csv", "x.tsv", "x.tsv.gz", "x.parquet", "dataset"])
def test_of_1000_rows_with_60_broken_ones_940_come_through(tmp_path, name: str) -> None:
    kind = "parquet" if name == "dataset" else name.split(".")[1]
    path = tmp_path / name
    if name == "dataset":
        datasets = pytest.importorskip("datasets")
        expected = write_broken_file(tmp_path / "x.parquet", kind)
        datasets.Dataset(pq.read_table(tmp_path / "x.parquet")).save_to_disk(str(path))
    else:
        expected = write_broken_file(path, kind)
    assert len(set(expected.values())) == 12

    quarantine = tmp_path / "made" / "quarantine.jsonl"
    loaded = load_pairs(path, TAOBAO, require_label=True, quarantine=quarantine)
    assert {r.row: r.reason for r in loaded.rejected} == expected
    assert len(loaded.rejected) == 60
    assert loaded.counts == dict.fromkeys(TWELVE[kind], 5)
    assert [p.pair_id for p in loaded.pairs] == [f"p{n}" for n in range(1000) if n + 1 not in expected]
    one = loaded.pairs[-1]
    assert (one.product.attributes, one.extra["note"]) == ({"color": "red"}, "line\n" + one.pair_id[1:])

    records = [json.loads(line) for line in quarantine.read_text("utf-8").splitlines()]
    assert [(r["row"], r["reason"]) for r in records] == sorted(expected.items())
    assert all(r["detail"] and r["raw"] for r in records)
    null = next(r for r in records if r["reason"] == "null byte")
    assert "a" in json.dumps(null["raw"]) and "\0" not in json.dumps(null["raw"])


def test_an_open_quote_is_recovered_with_its_text(tmp_path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('query,title\nshoe,"never closed\nhat,Hat\n')
    loaded = load_pairs(path, TAOBAO)
    assert [p.query for p in loaded.pairs] == ["hat"]
    assert (loaded.rejected[0].reason, loaded.rejected[0].raw) == ("broken quotes", 'shoe,"never closed')


def jsonl(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(json.dumps(r) for r in rows), "utf-8")
    return path


def test_labels_become_codes_and_doubles_are_found(tmp_path) -> None:
    shoe = {"query": "Shoe", "title": "Shoe"}
    path = jsonl(
        tmp_path / "x.jsonl",
        shoe | {"label": "excellent"}, shoe | {"query": " shoe ", "label": 4.0}, shoe | {"label": "L3"}, shoe,
        shoe | {"pair_id": "a", "label": "4"}, shoe | {"pair_id": "a", "label": "4"}, shoe | {"pair_id": "b"},
    )  # fmt: skip
    loaded = load_pairs(path, TAOBAO)
    assert [(p.label, p.pair_id[0]) for p in loaded.pairs] == [("4", "p"), ("4", "a"), (None, "b")]
    assert [r.reason for r in loaded.rejected] == [
        "duplicate pair", "same pair with another label", "duplicate pair", "duplicate pair id",
    ]  # fmt: skip


def test_a_rejected_row_lays_no_claim(tmp_path) -> None:
    rows = [{"query_id": "q", "query": "hat", "title": ""}, {"query_id": "q", "query": "shoe", "title": "Shoe"}]
    loaded = load_pairs(jsonl(tmp_path / "x.jsonl", *rows), TAOBAO)
    assert [p.query for p in loaded.pairs] == ["shoe"]


def test_where_keeps_some_rows_and_loses_none(tmp_path) -> None:
    rows = [{"query": "a", "title": str(n), "locale": loc, "year": n} for n, loc in enumerate(["us", "es", "us", "jp"])]
    path = jsonl(tmp_path / "x.jsonl", *rows, {"query": "a", "title": "", "locale": "us"}, [])
    loaded = load_pairs(path, TAOBAO, where={"locale": "us"})
    assert ([p.product.title for p in loaded.pairs], len(loaded.rejected), loaded.skipped) == (["0", "2"], 2, 2)
    loaded = load_pairs(path, TAOBAO, where={"locale": ["es", "jp"], "year": "3"})
    assert [p.product.title for p in loaded.pairs] == ["3"]
    with pytest.raises(UserError, match="where: no row has market; the columns are query, title, locale, year"):
        load_pairs(path, TAOBAO, where={"market": "us"})


def test_named_columns(tmp_path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("frage,name,note\nSchuh,Roter Schuh,4\n", "utf-8")
    loaded = load_pairs(path, TAOBAO, columns={"query": "frage", "title": "name", "label": "note"}, require_label=True)
    assert (loaded.pairs[0].query, loaded.pairs[0].label, loaded.pairs[0].extra) == ("Schuh", "4", {})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", b"", "is empty"),
        ("x.csv", b"query,title\n", "is empty; at least one row"),
        ("x.jsonl", b"\n\n", "is empty; at least one row"),
        ("x.jsonl", b"query,title\na,b\n", r"no readable row \(row 1: broken json, .*is it in this format"),
        ("x.csv", b"a,b\n1,2\n", "no known layout fits the columns a, b"),
        ("x.csv", b"query,title\n1,2\n", "no column 'label' for the label"),
        ("x.parquet", b"query,title\n1,2\n", "not a readable Parquet file"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_line(tmp_path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        load_pairs(tmp_path / name, TAOBAO, require_label=True)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["a", "4", "\ud800"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
FIELDS = ["query", "title", "label", "price", "attributes", "tags", "locale", "pair_id", "query_id", "product_id", "x"]


@pytest.mark.fuzz
@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6), max_size=8))
def test_any_json_values_become_pairs_or_reasons(tmp_path_factory, rows: list[dict[str, Any]]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    jsonl(path, {"query": "a", "title": "b"}, *rows)
    loaded = load_pairs(path, TAOBAO, quarantine=path.with_name("quarantine.jsonl"))
    assert len(loaded.pairs) + len(loaded.rejected) == len(rows) + 1
    assert loaded.counts.keys() <= REASONS.keys()
    assert len(path.with_name("quarantine.jsonl").read_bytes().splitlines()) == len(loaded.rejected)


LINES = st.lists(
    st.binary(max_size=20) | st.sampled_from([b"a,b", b'"a', b'{"query": 1}', b"\x00,x", b"a,\xff"]), max_size=8
)


@pytest.mark.fuzz
@given(LINES.map(b"\n".join))
def test_random_bytes_become_rows_or_one_clear_line(tmp_path_factory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name, start in (("b.csv", b"query,title\na,b\n"), ("b.jsonl", b'{"query": "a", "title": "b"}\n')):
        (folder / name).write_bytes(start + content)
        quarantine = folder / "random-quarantine.jsonl"
        loaded = load_pairs(folder / name, TAOBAO, quarantine=quarantine, encoding="utf-8")
        assert loaded.pairs[0].product.title == "b"
        assert len(quarantine.read_bytes().splitlines()) == len(loaded.rejected)
        assert loaded.counts.keys() <= REASONS.keys()
    for name in ("b.csv", "b.csv.gz", "b.jsonl.gz", "b.parquet"):
        (folder / name).write_bytes(content)
        try:
            load_pairs(folder / name, TAOBAO)
        except UserError as error:
            assert "\n" not in str(error)


def test_forms_of_one_query_and_product_are_conflicts_and_doubles(tmp_path) -> None:
    composed, decomposed = {"query": "café", "title": "Café"}, {"query": "cafe\u0301", "title": "Ｃafe\u0301"}
    rows = [composed | {"label": "4"}, decomposed | {"label": "1"}, decomposed | {"label": "4"}]
    loaded = load_pairs(jsonl(tmp_path / "x.jsonl", *rows), TAOBAO)
    assert [p.query for p in loaded.pairs] == ["café"]
    assert [r.reason for r in loaded.rejected] == ["same pair with another label", "duplicate pair"]


def test_a_price_that_cannot_be_read_is_counted_and_costs_no_row(tmp_path) -> None:
    rows = [{"query": "a", "title": str(n), "cost": cost} for n, cost in enumerate(["1.204,90", "ask", -5, "", "99 €"])]
    loaded = load_pairs(jsonl(tmp_path / "x.jsonl", *rows), TAOBAO, columns={"price": "cost"})
    assert [p.product.price for p in loaded.pairs] == [1204.9, None, None, None, 99.0]
    assert (loaded.bad_prices, loaded.rejected) == ([(2, "ask"), (3, -5)], [])
    assert [p.extra for p in loaded.pairs] == [{}, {"cost": "ask"}, {"cost": -5}, {}, {}]


@pytest.mark.parametrize("label", ["4.00", "4,0", "4", Decimal("4.00"), 4.0, "Excellent"])
def test_decimal_labels_are_labels(tmp_path, label: Any) -> None:
    pq.write_table(pa.table({"query": ["a"], "title": ["b"], "label": [label]}), tmp_path / "x.parquet")
    assert load_pairs(tmp_path / "x.parquet", TAOBAO).pairs[0].label == "4"


@pytest.mark.parametrize("label", ["4.5", "0.4", "40", "4.01", ".00", "4,000,0"])
def test_other_numbers_are_not(tmp_path, label: str) -> None:
    loaded = load_pairs(jsonl(tmp_path / "x.jsonl", {"query": "a", "title": "b", "label": label}), TAOBAO)
    assert [r.reason for r in loaded.rejected] == ["unknown label"]


def test_binary_columns_cost_nothing(tmp_path) -> None:
    pytest.importorskip("datasets")
    import datasets

    image = {"bytes": b"\x89PNG\r\n\x1a\n\0\xff", "path": "a.png"}
    table = pa.table({"query": ["a"], "title": ["b"], "image": [image], "uuid": pa.array([b"\xff" * 16], pa.binary(16)),
                      "broken": pa.array([b"\xff"], pa.binary()).view(pa.string())})  # fmt: skip
    pq.write_table(table, tmp_path / "x.parquet")
    features = datasets.Features(
        {name: datasets.Value("string") for name in ("query", "title")} | {"image": datasets.Image()}
    )
    rows = datasets.Dataset.from_dict({"query": ["a"], "title": ["b"], "image": [image]}, features=features)
    rows.save_to_disk(str(tmp_path / "saved"))
    for path in (tmp_path / "x.parquet", tmp_path / "saved"):
        (pair,) = load_pairs(path, TAOBAO).pairs
        assert pair.extra["image"] == {"bytes": "base64:iVBORw0KGgoA/w==", "path": "a.png"}
    assert load_pairs(tmp_path / "x.parquet", TAOBAO).pairs[0].extra["broken"] == "base64:/w=="
    bad = pa.table({"query": ["a"], "title": pa.array([b"\xff"])})
    pq.write_table(bad, tmp_path / "x.parquet")
    assert [r.reason for r in load_pairs(tmp_path / "x.parquet", TAOBAO).rejected] == ["wrong encoding"]


@pytest.mark.parametrize("text", ["query,title\ncafé,Tasse à café\nété,Robe\n", "query,title\n红色杯子,红色马克杯\n"])
@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
def test_another_encoding_is_asked_for_and_then_read(tmp_path, text: str, name: str) -> None:
    encoding = "gb18030" if "杯" in text else "cp1252"
    content = text.encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(UserError, match=r"lines are not UTF-8; name the encoding with --encoding") as caught:
        load_pairs(tmp_path / name, TAOBAO)
    assert "\n" not in str(caught.value)
    loaded = load_pairs(tmp_path / name, TAOBAO, encoding=encoding)
    assert [p.query for p in loaded.pairs] == [line.split(",")[0] for line in text.splitlines()[1:]]
    assert loaded.rejected == []
    with pytest.raises(UserError, match=r"no readable row .*unless --encoding names another"):
        load_pairs(tmp_path / name, TAOBAO, encoding="utf-8")
    with pytest.raises(UserError, match="unknown encoding 'klingon'"):
        load_pairs(tmp_path / name, TAOBAO, encoding="klingon")


def test_single_bad_lines_of_a_utf8_file_are_quarantined(tmp_path) -> None:
    lines = [f"caf\u00e9 {n},Tasse".encode() for n in range(3)]
    (tmp_path / "x.csv").write_bytes(b"\n".join([b"query,title", *lines, b"caf\xe9,Tasse"]))
    loaded = load_pairs(tmp_path / "x.csv", TAOBAO)
    assert (len(loaded.pairs), loaded.counts) == (3, {"wrong encoding": 1})
    assert "--encoding" in loaded.rejected[0].detail


HOSTILE = [
    "", " ", "a\nb", "a\0b", "\ufeffquery", "extra.title", "extra.", "extra.extra.title", "e\u0301", "a,b", '"',
    "x" * 300, "\u202e", "query ", "response", "extra.price", "price", "label", "tags", "attributes", "pair_id",
    "product_id", "locale", "brand", "query", "title",
]  # fmt: skip
COLUMNS_OF_TWO = [
    pa.array(["a", "b"]), pa.array([1, 2]), pa.array([0.5, float("inf")]), pa.array([None, None], pa.null()),
    pa.array([b"\xff\0", b"x"]), pa.array([[b"\xff"], None]), pa.array([{"a": b"\x80"}, None]),
    pa.array([2**62, 1], pa.timestamp("ns")), pa.array([2**62, 1], pa.timestamp("s")),
    pa.array([1, 2], pa.timestamp("s", tz="Foo/Bar")), pa.array([10**15, 1], pa.duration("us")),
    pa.array([[("k", 1), ("k", 2)], []], pa.map_(pa.string(), pa.int64())),
    pa.StructArray.from_arrays([pa.array([1, 2]), pa.array([3, 4])], ["a", "a"]),
]  # fmt: skip


@pytest.mark.fuzz
@given(st.lists(st.tuples(st.sampled_from(HOSTILE) | st.text(max_size=4), st.sampled_from(COLUMNS_OF_TWO)), max_size=6))
def test_any_parquet_columns_are_read_and_written_or_one_clear_line(tmp_path_factory, columns) -> None:
    folder = tmp_path_factory.getbasetemp()
    columns = [("query", pa.array(["q", "r"])), ("title", pa.array(["t", "u"])), *columns]
    names = [name for name, _ in columns]
    try:
        pq.write_table(pa.Table.from_arrays([values for _, values in columns], names=names), folder / "names.parquet")
    except (UnicodeEncodeError, pa.ArrowException):
        return  # pyarrow itself does not write it
    try:
        loaded = load_pairs(folder / "names.parquet", TAOBAO, quarantine=folder / "names.jsonl")
    except UserError as error:
        assert "\n" not in str(error)
        assert len(set(names)) < len(names)
        return
    assert len(loaded.pairs) + len(loaded.rejected) == 2
    for name in ("again.jsonl", "again.csv", "again.parquet"):
        write_pairs(folder / name, loaded.pairs)
        assert [p.pair_id for p in read_pairs(folder / name)] == [p.pair_id for p in loaded.pairs]


def test_the_real_esci_sample(shared_data: Path, tmp_path) -> None:
    path = shared_data / "esci-sample" / "pairs.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"no ESCI sample at {path.parent}")
    esci = load_domain("esci")
    loaded = load_pairs(path, esci, require_label=True, quarantine=tmp_path / "quarantine.jsonl")
    assert (loaded.layout, len(loaded.pairs), loaded.rejected) == ("esci-sample", 2698, [])
    assert (tmp_path / "quarantine.jsonl").read_bytes() == b""
    assert Counter(p.label for p in loaded.pairs) == {"E": 1767, "S": 559, "C": 79, "I": 293}
    assert Counter(p.locale for p in loaded.pairs) == {"us": 1898, "jp": 426, "es": 374}
    assert len({p.query_id for p in loaded.pairs}) == 2241
    assert Counter(p.extra["selection"] for p in loaded.pairs)["exact_only"] == 439
    english = load_pairs(path, esci, where={"locale": "us"})
    assert (len(english.pairs), english.skipped) == (1898, 800)


def test_responses_to_a_pair_may_come_again_but_not_under_another_text(tmp_path: Path) -> None:
    """References and the judge's reasoning are found by the pair's id: the second query would get the first's."""
    rows = [
        ("p1", "red shoes", "Shoe"),
        ("p1", "red  SHOES", "Shoe"),
        ("p1", "blue shoes", "Shoe"),
        ("p1", "red shoes", "Boot"),
    ]
    path = tmp_path / "r.jsonl"
    path.write_text(
        "".join(json.dumps({"pair_id": i, "query": q, "title": t, "response": "x"}) + "\n" for i, q, t in rows)
    )
    loaded = load_pairs(path, load_domain("taobao"), responses=True)
    assert len(loaded.pairs) == 2
    assert [(r.row, r.reason) for r in loaded.rejected] == [(3, "conflicting pair id"), (4, "conflicting pair id")]


@pytest.mark.parametrize(
    ("cell", "wanted", "same"),
    [
        ("no", "no", True), ("00012", "00012", True), ("12", "00012", False), ("1.1", "1.10", False), ("1", 1, True),
        (True, "true", True), (False, "true", False), (False, "no", False), (1.1, "1.10", True), (1, "1.0", True),
        (12, "00012", False), (None, "null", True), ("null", "null", True), ("a: b: c", "a: b: c", True),
        (3, "a: b: c", False), ("true", True, False), (True, True, True),
    ],
)  # fmt: skip
def test_a_cell_is_compared_as_written_and_by_its_type(cell: object, wanted: object, same: bool) -> None:
    assert is_any(cell, [wanted]) == same
