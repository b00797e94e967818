"""The noise table: differences from vanilla GRPO, rule by rule and rate by rate; what has not been run is a dash."""

from pathlib import Path
from typing import Any

from taosr_she.bench.marked import marks
from taosr_she.bench.paper.methods import FLIPS, METHODS, STEP_RULES
from taosr_she.bench.paper.page import MARKS, write_page
from taosr_she.bench.paper.results import noise


def difference(value: float) -> dict[str, float]:
    return {"difference": value, "low": value - 0.01, "high": value + 0.02}


def row(macro_f1: float, right: float, wrong: float) -> dict[str, Any]:
    values = {"macro_f1": macro_f1, "steps_all_right": right, "right_label_wrong_reasoning": wrong}
    return {"against": {metric: difference(value) for metric, value in values.items()}}


def test_the_noise_table_holds_differences_and_dashes(tmp_path: Path) -> None:
    rows = {"srpo_flip0": row(0.05, 0.1, -0.08), "srpo_flip40": row(-0.012, 0.001, 0.02), "grpo": {}}
    found = noise({"quiet": {"rows": {"grpo": {}}}, "long_tail": {"rows": rows}})
    assert (
        found["setting"] == "long_tail" and found["levels"] == [0.0, *FLIPS] and set(found["rules"]) == set(STEP_RULES)
    )
    assert [c and c["difference"] for c in found["rules"]["srpo"]["macro_f1"]] == [0.05, None, None, -0.012]
    page = tmp_path / "results.md"
    page.write_text("\n".join(["# Results\n", *marks(MARKS), ""]), "utf-8")
    methods = {key: {"title": method.title, "group": method.group} for key, method in METHODS.items()}
    results = {
        "command": "c", "versions": {"v": "1"}, "machine": "m", "resamples": 2000, "methods": methods, "settings": {},
        "noise": found, "missing": [],
    }  # fmt: skip
    write_page(results, page, tmp_path)
    text = page.read_text("utf-8")
    assert "| SRPO | +5.0 / +10.0 / -8.0 | – / – / – | – / – / – | -1.2 / +0.1 / +2.0 |" in text
    assert (tmp_path / "noise.png").stat().st_size > 10_000


def test_without_noise_cells_there_is_no_noise_table() -> None:
    assert noise({"long_tail": {"rows": {"grpo": {}, "srpo": row(0.1, 0.1, 0.1)}}}) == {}
