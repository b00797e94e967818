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
        ("null byte", {"brand": "a\0"}),
        ("null byte", {"attributes": '{"a": "\\u0000"}'}),
        ("wrong encoding", {"title": "a\ud800"}),
        ("wrong encoding", {"brand": b"\xff"}),
        ("wrong encoding", {"attributes": {"a": b"\xff"}}),
        ("wrong encoding", {"tags": '["\\ud800"]'}),
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


@pytest.mark.parametrize("price", ["cheap", "-1", -1, float("inf"), [1], b"\xff\x00", "a\0b"])
def test_a_price_that_cannot_be_read_costs_the_price_and_is_kept_beside_the_pair(price: Any) -> None:
    read = pair_from_row({"query": "red shoe", "title": "Shoe", "price": price}, PLAIN)
    assert read.bad_price and read.pair.product.price is None
    assert list(read.pair.extra) == ["price"]
    good = pair_from_row({"query": "red shoe", "title": "Shoe", "price": "204,90"}, PLAIN)
    assert (good.bad_price, good.pair.product.price, good.pair.extra) == (False, 204.9, {})


def test_other_columns_are_carried_whatever_they_hold() -> None:
    cells = {"photo": b"\x89PNG\x00\xff", "deep": {"a": [b"\xff"]}, "x\udfff": "a\0b", "plain": "é", "half": "\ud800"}
    assert read(**cells).extra == {
        "photo": "base64:iVBORwD/", "deep": {"a": ["base64:/w=="]}, "x\\udfff": "a\\x00b", "plain": "é",
        "half": "\\ud800",
    }  # fmt: skip
    assert read(product_id=b"\xff\x01").pair_id != read(product_id=b"\xff\x02").pair_id
    assert read(pair_id=b"\xff\x01").pair_id == "base64:/wE="


def test_forms_of_one_text_are_one_query_and_one_product_but_ids_made_before_stay() -> None:
    forms = [("caf\u00e9 mug", "Caf\u00e9 [red]"), ("cafe\u0301 \uff4dug", "Cafe\u0301 \uff3bred\uff3d")]
    one, other = (pair_from_row({"query": q, "title": t, "label": "4"}, PLAIN) for q, t in forms)
    assert one.identity == other.identity
    assert one.pair.query_id == other.pair.query_id
    # Annotations are kept under ids made from content: those do not change with what counts as the same.
    assert (one.pair.pair_id, other.pair.pair_id) == ("p1bb8b29433e31d4a", "pa8432d1608544eba")
    assert read().pair_id == "p494f883211206aee" and read().query_id == "q23e7791f6e9cc4b9"
