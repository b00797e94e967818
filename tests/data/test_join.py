import csv

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taosr_she.base.errors import UserError
from taosr_she.data.validate import load_pairs
from taosr_she.domain.domain import load_domain


def table(path, *rows: list) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t").writerows(rows)


@pytest.fixture
def wands(tmp_path):
    table(
        tmp_path / "query.csv", ["query_id", "query", "query_class"], [0, "salon chair", "Chairs"], [1, "bed", "Beds"]
    )
    table(
        tmp_path / "product.csv",
        [
            "product_id",
            "product_name",
            "product_class",
            "category hierarchy",
            "product_description",
            "product_features",
        ],
        [7, "oak bed, wide", "Beds", "Furniture / Beds", "good", "color : oak|size:queen"],
        [8, 'chair 27.5 "', "Chairs", "Furniture / Chairs", "", ""],
    )
    table(
        tmp_path / "label.csv", ["id", "query_id", "product_id", "label"],
        [100, 1, 7, "Exact"], [101, 0, 7, "Irrelevant"], [102, 0, 8, "Partial"], [103, 5, 8, "Exact"],
        [104, 0, 9, "Exact"],
    )  # fmt: skip
    return tmp_path


def test_wands_folder(wands) -> None:
    loaded = load_pairs(wands, load_domain("wands"), require_label=True)
    assert loaded.layout == "wands"
    assert [(p.pair_id, p.query, p.product.title, p.label) for p in loaded.pairs] == [
        ("100", "bed", "oak bed, wide", "Exact"),
        ("101", "salon chair", "oak bed, wide", "Irrelevant"),
        ("102", "salon chair", 'chair 27.5 "', "Partial"),
    ]
    assert loaded.pairs[0].product.attributes == {"color": "oak", "size": "queen"}
    assert loaded.pairs[0].extra["category hierarchy"] == "Furniture / Beds"
    assert [(r.row, r.reason) for r in loaded.rejected] == [(4, "unknown query"), (5, "unknown product")]


def test_where_reaches_every_file(wands) -> None:
    domain = load_domain("wands")
    by_query_file = load_pairs(wands, domain, where={"query_class": "Beds"})
    assert ([p.pair_id for p in by_query_file.pairs], by_query_file.skipped) == (["100"], 2)
    by_label_file = load_pairs(wands, domain, where={"label": ["Exact", "Partial"]})
    assert ([p.pair_id for p in by_label_file.pairs], by_label_file.skipped) == (["100", "102"], 1)
    assert len(by_label_file.rejected) == 2


def test_esci_folder(tmp_path) -> None:
    examples = {"example_id": [0, 1, 2], "query": ["q", "q", "r"], "query_id": [5, 5, 6], "product_id": ["A", "B", "A"],
                "product_locale": ["us", "us", "es"], "esci_label": ["E", "I", "S"]}  # fmt: skip
    products = {"product_id": ["A", "B", "A"], "product_title": ["T", "U", "V"], "product_locale": ["us", "us", "es"]}
    pq.write_table(pa.table(examples), tmp_path / "shopping_queries_dataset_examples.parquet")
    pq.write_table(pa.table(products), tmp_path / "shopping_queries_dataset_products.parquet")
    loaded = load_pairs(tmp_path, load_domain("esci"))
    assert [(p.pair_id, p.product.title, p.label, p.locale) for p in loaded.pairs] == [
        ("0", "T", "E", "us"), ("1", "U", "I", "us"), ("2", "V", "S", "es"),
    ]  # fmt: skip
    assert [p.pair_id for p in load_pairs(tmp_path, load_domain("esci"), where={"locale": "es"}).pairs] == ["2"]


def test_broken_folders_are_one_clear_line(wands) -> None:
    table(wands / "query.csv", ["query_id", "query"], [0, "a"], [0, "b"])
    with pytest.raises(UserError, match=r"query\.csv, row 2: a second row for 0; remove one"):
        load_pairs(wands, load_domain("wands"))
    table(wands / "query.csv", ["id", "query"], [0, "a"])
    with pytest.raises(UserError, match=r"query\.csv: no column query_id; the file has: id, query"):
        load_pairs(wands, load_domain("wands"))
