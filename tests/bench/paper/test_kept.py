"""Rows that were run elsewhere stay while they are up to date, and are replaced by fuller ones."""

from pathlib import Path
from typing import Any

import pytest

from taosr_she.bench.paper import kept
from taosr_she.bench.paper.kept import merge_rows, planned_prints
from taosr_she.bench.paper.settings import SETTINGS


def row(**cells: str) -> dict[str, Any]:
    return {"cells": {seed.removeprefix("s"): made for seed, made in cells.items()}}


def test_a_row_found_here_stands_unless_the_earlier_one_has_more_seeds() -> None:
    prints = {("sft", 11): "a", ("grpo", 11): "b", ("grpo", 12): "c", ("srpo", 11): "d"}
    here = {"grpo": row(s11="b"), "srpo": row(s11="d")}
    earlier = {"srpo": row(s11="d"), "grpo": row(s11="b", s12="c"), "tfidf": row(s11="a")}
    merged = merge_rows(here, earlier, prints)
    assert list(merged) == ["grpo", "srpo", "tfidf"]
    assert merged["grpo"] is earlier["grpo"] and merged["srpo"] is here["srpo"]
    assert merge_rows({}, {}, prints) == {}


def test_a_row_made_with_other_settings_goes() -> None:
    earlier = {"grpo": row(s11="old"), "srpo": row(s13="d"), "majority": row(s11="a")}
    assert list(merge_rows({}, earlier, {("grpo", 11): "new", ("sft", 11): "a"})) == ["majority"]


def test_without_the_data_nothing_can_be_out_of_date() -> None:
    assert list(merge_rows({}, {"grpo": row(s11="old")}, None)) == ["grpo"]


def test_prints_follow_what_a_cell_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = planned_prints(tmp_path, "long_tail")
    assert before is not None and ("full", 11) in before and ("std", 14) not in before
    assert planned_prints(tmp_path / "elsewhere", "long_tail") == before
    monkeypatch.setitem(
        kept.SETTINGS, "long_tail", type(SETTINGS["long_tail"])(**vars(SETTINGS["long_tail"]) | {"tiny": {"layers": 3}})
    )
    after = planned_prints(tmp_path, "long_tail")
    assert after is not None and after.keys() == before.keys() and not set(after.values()) & set(before.values())
