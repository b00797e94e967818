"""What people marked: tags to requirements, majorities, annotations, and files that are wrong."""

import json
from pathlib import Path

import pytest

from taosr_she.base.errors import UserError
from taosr_she.data.catalogue.queryner import (
    read_marked,
    reading_annotations,
    readings_by_people,
    requirements,
    spans,
)
from taosr_she.data.catalogue.requirement import conclusion
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair, Product

CHORUS = load_domain("chorus")


def test_spans_and_requirements() -> None:
    tags = ["B-core_product_type", "I-core_product_type", "B-department", "I-department", "O", "I-color"]
    assert spans(tags) == [("core_product_type", 0, 2), ("department", 2, 4), ("color", 5, 6)]
    reading = requirements(["Rain", "coats", "for", "Women", "in", "red"], tags)
    assert reading is not None
    assert conclusion(CHORUS, reading) == "product type: rain coats; color: red; for: women"
    assert requirements(["odd"], ["B-obscure"]) is None
    assert conclusion(CHORUS, requirements(["of"], ["O"]) or ()) == "none"


def test_text_of_a_query_cannot_open_a_field_or_a_section() -> None:
    (found,) = requirements(["[label];", "brand:", "x"], ["B-creator", "I-creator", "I-creator"]) or ()
    assert not set(found.text) & set("[];:\n")


def test_more_than_half_decide_and_a_tie_is_unknown(marked_file: Path) -> None:
    people = readings_by_people(CHORUS, list(read_marked(marked_file)))
    assert [r.kind for r in people["adidas shoe"]] == ["brand", "product type"]
    assert [r.kind for r in people["camo shoe"]] == ["color", "product type"]
    assert "zara shoe" not in people
    assert [r.kind for r in people["odd shoe"]] == ["feature", "product type"]  # two abstain, one is sure
    assert all(r.by == "people" for reading in people.values() for r in reading)


def test_every_person_is_an_annotator_of_every_pair_of_the_query(marked_file: Path) -> None:
    marked = list(read_marked(marked_file))
    pairs = [Pair(f"p{n}", "x", query, Product("Shoe")) for n, query in enumerate(["Camo  Shoe", "camo shoe", "none"])]
    said = list(reading_annotations(CHORUS, marked, pairs))
    assert [(a.pair_id, a.annotator) for a in said] == [(p, f"queryner-{n}") for n in (1, 2, 3) for p in ("p0", "p1")]
    assert {a.conclusion for a in said} == {"product type: shoe; color: camo", "product type: shoe; feature: camo"}
    alone = list(reading_annotations(CHORUS, marked))
    assert len(alone) == 40 + 4 * 3 and alone[0].annotator == "queryner"
    assert sum(a.verdict == "unsure" for a in alone) == 2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"tags": ["B-color"]}, "the number of tags differs"), ({"tags": ["B-color", "X"]}, "unknown tag 'X'"),
        ({"tokens": None}, "no tokens"), ({"annotators": ["B-color"]}, "annotators is not a mapping"),
        ({"annotators": {"1": ["B-color", "B-nonsense"]}}, "unknown tag 'B-nonsense'"), ({"tokens": [1, "a"]}, "text"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_line(tmp_path: Path, change: dict[str, object], told: str) -> None:
    good = {"query_key": "q", "query": "red mug", "tokens": ["red", "mug"], "tags": ["B-color", "B-core_product_type"]}
    path = tmp_path / "queries.jsonl"
    path.write_text(json.dumps(good) + "\n" + json.dumps(good | change))
    with pytest.raises(UserError) as error:
        list(read_marked(path))
    assert f"{path}, line 2" in str(error.value) and told in str(error.value) and "\n" not in str(error.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        list(read_marked(tmp_path / "no.jsonl"))
