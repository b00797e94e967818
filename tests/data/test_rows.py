from typing import Any

import pytest

from taosr_she.data.columns import LAYOUTS, ColumnMap
from taosr_she.data.rows import MAX_QUERY_CHARS, REASONS, BadRow, pair_from_row
from taosr_she.domain.pair import Pair, Product

PLAIN = LAYOUTS["plain"]


def read(columns: ColumnMap = PLAIN, **cells: Any) -> Pair:
    return pair_from_row({"query": "red shoe", "title": "Shoe"} | cells, columns).pair


def test_a_full_row() -> None:
    pair = read(
        pair_id=7, query_id=3.0, label=4, description="d", brand=501, category="Shoes", price="$1,299.50", locale="us",
        attributes='{"color": "red", "sizes": [40, 41], "vegan": true, "gone": null}', tags="tail| negation ",
        shelf="A", nothing=None, product_id="B1",
    )  # fmt: skip
    attributes = {"color": "red", "sizes": "40, 41", "vegan": "true"}
    assert pair == Pair(
        "7", "3", "red shoe", Product("Shoe", "d", "501", "Shoes", 1299.5, attributes), "4", "us", ("tail", "negation"),
        {"shelf": "A", "product_id": "B1"},
    )  # fmt: skip


def test_missing_ids_are_made_from_content() -> None:
    pair = read()
    assert pair == read(pair_id="", query_id=None)
    assert read(title="Other").pair_id != pair.pair_id
    assert read(title="Other").query_id == pair.query_id
    assert read(query=" RED  shoe").query_id == pair.query_id
    assert read(locale="es").query_id != pair.query_id
    assert read(product_id="B1").pair_id != read(product_id="B2").pair_id
    assert read(label="4").pair_id == pair.pair_id


def test_esci_and_wands_columns() -> None:
    esci = {
        "example_id": 5, "query": "q", "query_id": 1, "product_id": "B0", "product_locale": "us", "esci_label": "E",
        "product_title": "T", "product_description": "long", "product_bullet_point": "b1\nb2", "product_brand": None,
        "product_color": "Red", "split": "train",
    }  # fmt: skip
    assert pair_from_row(esci, LAYOUTS["esci"]).pair == Pair(
        "5", "1", "q", Product("T", "b1\nb2\nlong", attributes={"color": "Red"}), "E", "us",
        extra={"product_id": "B0", "split": "train"},
    )  # fmt: skip
    wands = {"id": "0", "query_id": "9", "query": "bed", "product_name": "oak bed", "product_class": "Beds",
             "product_features": "color : oak|base: steel| : gray wood|color: white|loose|note: a:b|"}  # fmt: skip
    product = pair_from_row(wands, LAYOUTS["wands"]).pair.product
    assert product.category == "Beds"
    assert product.attributes == {"color": "oak, white, loose", "base": "steel, gray wood", "note": "a:b"}


def test_extra_can_be_chosen() -> None:
    assert read(PLAIN.model_copy(update={"extra": ("a",)}), a=1, b=2).extra == {"a": 1}


@pytest.mark.parametrize(
    ("value", "price"),
    [(None, None), ("", None), (" ", None), (float("nan"), None), (0, 0.0), ("12", 12.0), ("￥99", 99.0), 
     ("1e3", 1000.0), ("12,345.6", 12345.6), (".5", 0.5),
        ("９９", 99.0)],
)  # fmt: skip
def test_prices(value: Any, price: float | None) -> None:
    assert read(price=value).product.price == price


@pytest.mark.parametrize(
    ("reason", "cells"),
    [
        ("missing query", {"query": None}),
        ("missing title", {"title": float("nan")}),
        ("empty query", {"query": " \u200b\n"}),
        ("empty title", {"title": ""}),
        ("wrong type", {"title": ["a"]}),
        ("wrong type", {"brand": True}),
        ("wrong type", {"description": [1]}),
        ("text too long", {"query": "x" * (MAX_QUERY_CHARS + 1)}),
        ("text too long", {"attributes": {"a": "x" * 100_001}}),
        ("null byte", {"note": {"deep": ["a\0"]}}),
        ("null byte", {"attributes": '{"a": "\\u0000"}'}),
        ("wrong encoding", {"title": "a\ud800"}),
        ("wrong encoding", {"x\udfff": 1}),
        ("wrong encoding", {"tags": '["\\ud800"]'}),
        *[
            ("bad price", {"price": p})
            for p in ("cheap", "-1", -1, "nan", float("inf"), True, [1], 10**400, "1,2", "٣x")
        ],
        *[("bad attributes", {"attributes": a}) for a in ("{", "[1]", "red", 5, {"a": {"b": "c"}}, {"a": [None]})],
        *[("bad tags", {"tags": t}) for t in (5, [1], "[1", {"a": 1})],
        *[("bad id", {"pair_id": i}) for i in (1.5, True, ["a"], {})],
        ("bad id", {"query_id": 0.1}),
        ("bad id", {"product_id": []}),
        ("locale not a string", {"locale": 5}),
    ],
)
def test_every_defect_has_its_reason(reason: str, cells: dict[str, Any]) -> None:
    assert reason in REASONS
    with pytest.raises(BadRow) as caught:
        read(**cells)
    assert caught.value.reason == reason
    assert len(caught.value.detail) < 200
