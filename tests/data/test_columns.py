import pytest

from taosr_she.base.errors import UserError
from taosr_she.data.columns import LAYOUTS, choose_layout, column_map

ESCI = [
    "example_id", "query", "query_id", "product_id", "product_locale", "esci_label", "small_version",
    "large_version", "split", "product_title", "product_description", "product_bullet_point", "product_brand",
    "product_color",
]  # fmt: skip
SAMPLE = [
    "id", "query_key", "query", "locale", "product_id", "title", "description", "bullets", "brand", "color",
    "label", "selection", "origin", "esci_query_id",
]  # fmt: skip
WANDS = [
    "id", "query_id", "product_id", "label", "query", "query_class", "product_name", "product_class",
    "product_description", "product_features",
]  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "layout"),
    [
        (["query", "title"], "plain"),
        (["query", "title", "label", "notes"], "plain"),
        (ESCI, "esci"),
        (SAMPLE, "esci-sample"),
        (WANDS, "wands"),
    ],
)
def test_auto_takes_the_layout_that_explains_most(seen: list[str], layout: str) -> None:
    assert choose_layout("auto", None, seen, "f.csv") == (layout, LAYOUTS[layout])


def test_columns_go_on_top_of_the_layout() -> None:
    name, mapped = choose_layout("auto", {"title": "name", "label": "grade"}, ["query", "name", "grade"], "f.csv")
    assert (name, mapped.title, mapped.label) == ("plain", "name", "grade")


@pytest.mark.parametrize(
    ("layout", "columns", "message"),
    [
        ("auto", None, r"f\.csv: no known layout fits the columns text, score; .*--column query=NAME"),
        ("plain", None, r"f\.csv: no column 'query' for the query; .*the file has: text, score"),
        ("rair", None, "layout 'rair' does not say which column is the query"),
        ("plain", {"query": "text", "title": "text", "brand": "maker"}, "no column 'maker' for the brand"),
        ("excel", None, "unknown layout 'excel'; choose one of auto, plain"),
        ("plain", {"colour": "x"}, "--column .*: colour: .*our fields are query"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(layout: str, columns: dict[str, str] | None, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        choose_layout(layout, columns, ["text", "score"], "f.csv")
    assert "\n" not in str(caught.value)


def test_a_required_label_needs_its_column() -> None:
    choose_layout("auto", None, ["query", "title"], "f.csv")
    with pytest.raises(UserError, match="no column 'label' for the label"):
        choose_layout("auto", None, ["query", "title"], "f.csv", require_label=True)


def test_rair_works_with_named_columns() -> None:
    columns = {"query": "q", "title": "t", "label": "l"}
    assert choose_layout("rair", columns, ["q", "t", "l"], "f.csv")[1] == column_map("rair", columns)


def test_consumed_columns_leave_the_product_id_in_extra() -> None:
    consumed = LAYOUTS["esci-sample"].consumed()
    assert {"bullets", "description", "color", "id"} <= consumed
    assert "product_id" not in consumed
