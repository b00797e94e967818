"""The grades of several people beside the label: read from any format, checked, kept, and shown as slices."""

import json
from pathlib import Path

import pytest

from taosr_she.data.read import read_pairs
from taosr_she.data.validate import load_pairs
from taosr_she.data.write import write_pairs
from taosr_she.domain.domain import load_domain

CHORUS = load_domain("chorus")


def write(path: Path, *raters: object) -> Path:
    rows = [
        {"id": f"p{n}", "query": f"mug {n}", "product_id": n, "title": "Mug", "label": "3", "raters": said,
         "attributes": {"dishwasher": True, "height": 9.5, "color": None}, "brand": "Kiva", "price": None}
        for n, said in enumerate(raters)
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_the_chorus_layout_with_raters_tags_and_typed_attributes(tmp_path: Path) -> None:
    loaded = load_pairs(write(tmp_path / "x.jsonl", ["3", "3", "3"], ["3", "0", 3], None, ["3"]), CHORUS)
    assert loaded.layout == "chorus" and not loaded.rejected
    assert [p.raters for p in loaded.pairs] == [("3", "3", "3"), ("3", "0", "3"), (), ("3",)]
    assert [p.tags for p in loaded.pairs] == [("unanimous",), ("disputed",), (), ()]
    assert loaded.pairs[0].product.attributes == {"dishwasher": "true", "height": "9.5"}


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_raters_survive_every_format(tmp_path: Path, ending: str) -> None:
    pairs = load_pairs(write(tmp_path / "x.jsonl", ["3", "3", "3"], ["3", "0", "1"], None), CHORUS).pairs
    path = tmp_path / f"out{ending}"
    write_pairs(path, pairs)
    assert [p.raters for p in read_pairs(path)] == [p.raters for p in pairs]
    again = load_pairs(path, CHORUS).pairs
    assert [(p.raters, p.tags) for p in again] == [(p.raters, p.tags) for p in pairs]


@pytest.mark.parametrize("raters", [["3", "9"], "[3,", {"a": 3}, [None, "3"]])
def test_what_is_no_list_of_grades_is_rejected(tmp_path: Path, raters: object) -> None:
    loaded = load_pairs(write(tmp_path / "x.jsonl", raters, ["3"]), CHORUS)
    assert loaded.counts == {"bad raters": 1} and len(loaded.pairs) == 1
