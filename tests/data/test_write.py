import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taosr_she.base.errors import UserError
from taosr_she.data.read import read_pairs
from taosr_she.data.write import write_pairs
from taosr_she.domain.pair import Pair, Product

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
NAME = TEXT.filter(str.strip) | st.sampled_from(
    ["=cmd()", '"quoted"', "a,b\tc;d", "two\r\nlines", "\ufeffx", "[1", "null"]
)
VISIBLE = NAME.map(lambda t: "v" + t)
ID = st.text("abc019-_é", min_size=1, max_size=6)
# Names under which the plain layout would take an extra column for one of its own are part of the game.
EXTRA_NAME = st.sampled_from(
    ["shelf", "price", "title", "extra.title", "extra.", "extra.shelf", "tags", "ünïcode", "a,b"]
)
SCALAR = VISIBLE | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
JSON = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAME, inner, max_size=2))


def pairs(extra: st.SearchStrategy) -> st.SearchStrategy[list[Pair]]:
    price = st.none() | st.floats(0, 1e200, allow_nan=False)
    product = st.builds(Product, VISIBLE, TEXT, TEXT, TEXT, price, st.dictionaries(TEXT, TEXT, max_size=2))
    label = st.none() | st.sampled_from(["4", "1", "E"])
    tags = st.lists(TEXT, max_size=3).map(tuple)
    extras = st.dictionaries(EXTRA_NAME, extra, max_size=3)
    return st.lists(st.builds(Pair, ID, ID, VISIBLE, product, label, TEXT, tags, extras), max_size=4)


def again(folder: Path, name: str, written: list[Pair]) -> list[Pair]:
    write_pairs(folder / name, written)
    return read_pairs(folder / name)


@given(pairs(JSON))
def test_jsonl_gives_everything_back(tmp_path_factory, written: list[Pair]) -> None:
    for name in ("x.jsonl", "x.jsonl.gz"):
        assert again(tmp_path_factory.getbasetemp(), name, written) == written


@given(pairs(VISIBLE))
def test_csv_and_tsv_give_text_back(tmp_path_factory, written: list[Pair]) -> None:
    for name in ("x.csv", "x.tsv", "x.csv.gz", "x.tsv.gz"):
        assert again(tmp_path_factory.getbasetemp(), name, written) == written


@given(pairs(VISIBLE))
def test_parquet_gives_text_back(tmp_path_factory, written: list[Pair]) -> None:
    assert again(tmp_path_factory.getbasetemp(), "x.parquet", written) == written


@settings(max_examples=5)
@given(pairs(VISIBLE))
def test_datasets_give_text_back(tmp_path_factory, written: list[Pair]) -> None:
    pytest.importorskip("datasets")
    assert again(tmp_path_factory.getbasetemp(), "dataset", written) == written


@given(pairs(JSON))
def test_other_extras_come_back_as_json_text_at_worst(tmp_path_factory, written: list[Pair]) -> None:
    for name in ("x.csv", "x.parquet"):
        for before, after in zip(written, again(tmp_path_factory.getbasetemp(), name, written), strict=True):
            assert before.extra.keys() == after.extra.keys()
            for key, value in before.extra.items():
                kept = after.extra[key]
                assert kept == value or json.loads(kept) == value


def simple(number: int, **extra: object) -> Pair:
    return Pair(f"p{number}", "q", "shoe", Product("Shoe"), extra=extra)


def test_parquet_keeps_numbers_of_one_kind(tmp_path) -> None:
    written = [simple(1, n=1, x=0.5, b=True), simple(2, n=2), simple(3, n=-(2**62), x=1e9, b=False)]
    assert again(tmp_path, "x.parquet", written) == written


def test_equal_pairs_give_equal_bytes_and_no_half_file(tmp_path) -> None:
    for suffix in ("jsonl.gz", "csv.gz", "parquet", "tsv"):
        for name in ("a", "b"):
            write_pairs(tmp_path / "new" / f"{name}.{suffix}", [simple(1, z=1), simple(2)])
        assert (tmp_path / "new" / f"a.{suffix}").read_bytes() == (tmp_path / "new" / f"b.{suffix}").read_bytes()
    before = (tmp_path / "new" / "a.jsonl.gz").read_bytes()

    def breaks():
        yield simple(1)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_pairs(tmp_path / "new" / "a.jsonl.gz", breaks())
    assert (tmp_path / "new" / "a.jsonl.gz").read_bytes() == before
    assert json.loads(gzip.decompress(before).splitlines()[0])["query"] == "shoe"


def test_no_pairs_are_no_problem(tmp_path) -> None:
    for name in ("x.jsonl", "x.csv", "x.tsv.gz", "x.parquet"):
        assert again(tmp_path, name, []) == []


def test_what_cannot_be_written_is_one_clear_line(tmp_path) -> None:
    with pytest.raises(UserError, match="unknown file ending"):
        write_pairs(tmp_path / "x.xlsx", [])
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="exists and is not a Hugging Face dataset"):
        write_pairs(tmp_path / "mine", [])


def test_json_lines_are_json(tmp_path) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    extra = {"score": float("inf"), "n": float("nan"), "deep": [{"a": float("-inf")}], "x": 1.5}
    write_pairs(tmp_path / "x.jsonl", [simple(1, **extra)])
    write_pairs(tmp_path / "x.csv", [simple(1, **extra)])
    row = json.loads((tmp_path / "x.jsonl").read_text(), parse_constant=refuse)
    assert (row["score"], row["n"], row["deep"], row["x"]) == (None, None, [{"a": None}], 1.5)
    (pair,) = read_pairs(tmp_path / "x.csv")
    assert json.loads(pair.extra["deep"], parse_constant=refuse) == [{"a": None}]


FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1)", "\t=1", "\r=1", "＝1", "＠x", "-x"]
HARMLESS = ["-5", "+3.5", "1=1", "a-b", "", "-1,204.50", "+2%", "'quoted", "5"]


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.csv.gz"])
def test_formulas_can_be_defused(tmp_path, name: str) -> None:
    brands = FORMULAS + HARMLESS
    written = [Pair(f"p{n}", "q", "v", Product("v", brand=b), extra={"@note": b}) for n, b in enumerate(brands)]
    write_pairs(tmp_path / name, written, defuse=True)
    read = read_pairs(tmp_path / name)
    assert [p.product.brand for p in read] == [f"'{t}" for t in FORMULAS] + HARMLESS
    assert {key for p in read for key in p.extra} == {"'@note"}
    write_pairs(tmp_path / name, written)
    assert [p.product.brand for p in read_pairs(tmp_path / name)] == brands


def test_other_formats_need_no_defusing(tmp_path) -> None:
    for name in ("x.jsonl", "x.parquet"):
        write_pairs(tmp_path / name, [simple(1, note="=1")], defuse=True)
        assert read_pairs(tmp_path / name)[0].extra == {"note": "=1"}


def test_devices_and_links_stay_what_they_are(tmp_path) -> None:
    (tmp_path / "null.parquet").symlink_to("/dev/null")
    write_pairs(tmp_path / "null.parquet", [simple(1)])
    (tmp_path / "link.csv").symlink_to("far.csv")
    write_pairs(tmp_path / "link.csv", [simple(1)])
    assert (tmp_path / "null.parquet").is_symlink() and Path("/dev/null").is_char_device()
    assert (tmp_path / "link.csv").is_symlink() and len(read_pairs(tmp_path / "far.csv")) == 1
    (tmp_path / "full.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"full\.jsonl"):
        write_pairs(tmp_path / "full.jsonl", [simple(1)])
    assert Path("/dev/full").is_char_device()
