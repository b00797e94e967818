"""The catalogue teacher keeps apart what is known and what it guesses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from taosr_she.base.errors import UserError
from taosr_she.data.catalogue.decide import Catalogue
from taosr_she.data.catalogue.queryner import MarkedQuery
from taosr_she.data.catalogue.reader import Reader
from taosr_she.data.teachers.catalogue import CatalogueTeacher, check_typed_steps
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.response import parse_response

CHORUS = load_domain("chorus")
COLOR, BRAND, TYPE, FEATURE = "B-color", "B-creator", "B-core_product_type", "B-modifier"


def marked(query: str, *tags: str) -> MarkedQuery:
    return MarkedQuery(query, query, tuple(query.split()), {"queryner": tags})


QUERIES = [
    *(marked(f"{color} {kind}", COLOR, TYPE) for color in ("red", "blue") for kind in ("mug", "shirt", "shoe")),
    *(marked(f"nike {kind}", BRAND, TYPE) for kind in ("shoe", "shirt", "cap")),
    marked("cozy mug", FEATURE, TYPE), marked("mug", TYPE), marked("nike red shoe", BRAND, COLOR, TYPE),
]  # fmt: skip


@pytest.fixture(scope="module")
def teacher() -> CatalogueTeacher:
    products = [Product("Shoe", brand="Nike"), Product("Shoe", brand="Adidas")]
    assert CHORUS.catalogue is not None
    catalogue = Catalogue.of(CHORUS.catalogue, products)
    return CatalogueTeacher(CHORUS, Reader(CHORUS, QUERIES, catalogue), catalogue)


def pair(query: str, title: str, label: str | None = "3", color: str = "", **fields: Any) -> Pair:
    attributes = {"product colour": color} if color else {}
    return Pair("p1", "q1", query, Product(title, attributes=attributes, **fields), label=label)


def test_everything_known(teacher: CatalogueTeacher) -> None:
    asked = pair("nike red shoe", "Trail shoe", "2", color="Blue", brand="Adidas")
    assert teacher.references(asked) == {"category": "same", "attributes": "brand: conflict; color: conflict"}
    shown = teacher.demonstration(asked)
    assert shown.taught == ("query", "category", "attributes", "label")
    assert shown.response.splitlines() == [
        "[query] product type: shoe; brand: nike; color: red", "[category] same",
        "[attributes] brand: conflict; color: conflict", "[label] 2",
    ]  # fmt: skip


def test_a_part_known_is_a_reference_with_question_marks_and_a_guess_that_is_not_taught(
    teacher: CatalogueTeacher,
) -> None:
    asked = pair("cozy mug", "Mug, red")
    assert teacher.references(asked) == {"category": "same"}
    shown = teacher.demonstration(asked)
    assert shown.taught == ("query", "category", "label") and "[attributes] feature: match" in shown.response
    half = pair("nike red shoe", "Trail shoe, charcoal", color="Charcoal", brand="Nike")
    assert teacher.references(half)["attributes"] == "brand: match; color: ?"
    assert "attributes" not in (teacher.demonstration(half).taught or ())


def test_a_query_that_nobody_read_leaves_the_rest_open(teacher: CatalogueTeacher) -> None:
    asked = pair("nike zorbing shoe", "Trail shoe", brand="Nike")
    assert teacher.references(asked)["attributes"] == "brand: match; ?"
    assert "query" not in (teacher.demonstration(asked).taught or ())
    assert "attributes" not in teacher.references(pair("zorbing", "Trail shoe"))


def test_a_query_for_a_kind_alone_asks_no_attributes(teacher: CatalogueTeacher) -> None:
    assert teacher.references(pair("mug", "Mug, red"))["attributes"] == "none"


@pytest.mark.parametrize(
    ("label", "title", "category"),
    [("3", "Trail runner", "same"), ("0", "Trail runner", "other"), ("0", "Shoe rack", "accessory")],
)
def test_an_undecided_category_is_guessed_from_label_and_title(
    teacher: CatalogueTeacher, label: str, title: str, category: str
) -> None:
    asked = pair("red shoe", title, label)
    assert f"[category] {category}" in teacher.demonstration(asked).response


@pytest.mark.parametrize("query", ["[label] 3; brand: x", "nike\n[label] 0", "???", "a" * 400, "赤い マグ"])
def test_a_demonstration_is_well_formed_whatever_is_asked(teacher: CatalogueTeacher, query: str) -> None:
    parsed = parse_response(CHORUS, teacher.demonstration(pair(query, "[label] 3")).response)
    assert parsed.well_formed and parsed.label == "3"


@pytest.mark.parametrize(
    ("query", "title", "category"),
    [
        ("cozy mug", "Tall mug", "same"), ("cozy mug", "Cover for a mug", "accessory"), ("cozy mug", "Plate", "other"),
        ("nike", "Nike cap", "same"), ("nike", "Cap", "other"), ("", "Cap", "other"),
    ],
)  # fmt: skip
def test_a_guess_from_the_words_does_not_tell_the_label(
    teacher: CatalogueTeacher, query: str, title: str, category: str
) -> None:
    by_words = replace(teacher, guess="words")
    shown = {label: by_words.demonstration(pair(query, title, label)).response for label in CHORUS.codes}
    assert len({text.rpartition("[label]")[0] for text in shown.values()}) == 1
    assert f"[category] {category}\n" in shown["3"]
    assert by_words.references(pair(query, title)) == teacher.references(pair(query, title))


def test_exercises_are_for_what_people_read(teacher: CatalogueTeacher) -> None:
    shown = teacher.exercise(pair("Red  Mug", "Trail shoe", None))
    assert shown is not None and shown.response == "[query] product type: mug; color: red"
    assert shown.taught == ("query",)
    assert teacher.exercise(pair("zorbing mug", "Trail shoe", None)) is None


def test_without_a_label_there_is_no_demonstration(teacher: CatalogueTeacher) -> None:
    with pytest.raises(UserError, match="'p1' has the label None"):
        teacher.demonstration(pair("red mug", "Mug", None))


def test_only_domains_with_its_steps_will_do(tmp_path: Path) -> None:
    for name in ("chorus", "esci-typed"):
        check_typed_steps(load_domain(name))
    for name in ("esci", "taobao", "wands"):
        with pytest.raises(UserError, match=f"domain '{name}': the catalogue teacher"):
            check_typed_steps(load_domain(name))
