from typing import Any

import datasets
import pytest

from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Annotation, Pair, Product
from taosr_she.domain.prompt import render_prompt
from taosr_she.examine.stepwise import annotations_from_stepwise, rows_from_annotations

DOMAIN = load_domain("taobao")
PAIRS = {"p1": Pair("p1", "q1", "red boots", Product("ruby boots"))}
SAID = [
    Annotation("p1", "attributes", "color: match", "wrong", "color: conflict", "", "ann", "t2", "1", "r1"),
    Annotation("p1", "category", "same", "correct", "", "sure", "ann", "t1", "1", "r1"),
    Annotation("p1", "product", "category: boots", "unsure", "", "", "ann", "t1", "1", "r1"),
    Annotation("p1", "category", "same", "correct", annotator="ben", response_id="r1"),
]


def test_rows_are_trl_stepwise_supervision() -> None:
    first, second = rows_from_annotations(DOMAIN, SAID, PAIRS)
    assert first["prompt"] == render_prompt(DOMAIN, PAIRS["p1"])
    assert first["completions"] == ["[category] same", "[attributes] color: match"]  # schema order
    assert first["labels"] == [True, False]
    assert [u["completion"] for u in first["unsure"]] == ["[product] category: boots"]
    assert (second["annotator"], second["labels"], second["unsure"]) == ("ben", [True], [])
    table = datasets.Dataset.from_list([second, first])
    assert table.features["completions"] == datasets.List(datasets.Value("string"))
    assert table.features["labels"] == datasets.List(datasets.Value("bool"))
    back = [a for row in table for a in annotations_from_stepwise(DOMAIN, row)]
    assert set(back) == set(SAID) and len(back) == len(SAID)


def test_rows_of_others_need_ids_and_section_headers_only() -> None:
    row = {"pair_id": 7, "completions": ["[category]  same\n", "[label] 4"], "labels": [1, 0], "index": 3}
    assert list(annotations_from_stepwise(DOMAIN, row)) == [
        Annotation("7", "category", " same\n"), Annotation("7", "label", "4", "wrong"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "reason", "kept"),
    [
        ({"labels": [True]}, "wrong type", 0),
        ({"completions": None}, "wrong type", 0),
        ({"unsure": 3}, "wrong type", 0),
        ({"unsure": [3]}, "not an object", 2),
        ({"completions": ["same", "[attributes] x"]}, "unknown step", 1),
        ({"completions": ["[colour] same", "[attributes] x"]}, "unknown step", 1),
        ({"completions": [None, "[attributes] x"]}, "wrong type", 1),
        ({"labels": [True, None]}, "unknown verdict", 1),
        ({"labels": [True, []]}, "unknown verdict", 1),
        ({"times": ["t"]}, "wrong type", 0),
        ({"pair_id": None}, "missing field", 0),
    ],
)
def test_a_bad_part_costs_itself_alone(change: dict[str, Any], reason: str, kept: int) -> None:
    row = {**rows_from_annotations(DOMAIN, SAID[:2], PAIRS)[0], **change}
    found = list(annotations_from_stepwise(DOMAIN, row))
    bad = [item for item in found if not isinstance(item, Annotation)]
    assert {b[0].reason for b in bad} == {reason} and len(found) - len(bad) == kept
    assert all(b[1] == row for b in bad)
