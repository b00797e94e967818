"""Which questions are worth asking: recipes, kept numbers, comparisons, tables."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest

from taosr_she.bench.marked import marks
from taosr_she.bench.online.page import MARKS, differences_text, table_text
from taosr_she.bench.online.recipes import cell_names, gsrm_of, online_recipe
from taosr_she.bench.online.results import Cells, differences, gather, mean_of, table
from taosr_she.bench.online.settings import BUDGETS, CHOSEN, DEVELOPMENT_SEED, EXACT, PLAIN, RULES, SEEDS, TITLES
from taosr_she.recipe.plan import plan


def made_up(seeds: tuple[int, ...] = (31, 32, 33)) -> Cells:
    """Cells in which the chosen rule with half the budget is as good as random with all of it, plus 0.01."""
    cells: Cells = {}
    for cell in cell_names():
        rule, _, budget = cell.rpartition("-")
        level = math.log2(int(budget) / 60) * 0.05 if rule else 0.3 if cell == EXACT else 0.0
        level += 0.06 if rule == CHOSEN else 0.0
        cells[cell] = {
            str(seed): {
                "steps_all_right": 0.4 + level + 0.01 * seed + Random(f"{cell} {seed}").uniform(0, 2e-3),
                "first_error_f1": None if cell == EXACT else 0.5 + level + Random(f"{seed} {cell}").uniform(0, 2e-3),
                "answered": 70,
                "changed": 9,
                "waited": 4.5,
            }
            for seed in seeds
        }  # fmt: skip
    return cells


def test_every_rule_has_every_budget_and_no_report_seed_is_for_development() -> None:
    recipe = online_recipe(31, cell_names(), Path("out"))
    assert len(cell_names()) == 2 + len(RULES) * len(BUDGETS) and DEVELOPMENT_SEED not in SEEDS
    asked = recipe.stages["ask_critical-240"].examination.online
    assert asked.policies == {"critical": 1.0} and asked.budget == 240 and asked.people is not None
    assert recipe.stages[gsrm_of("critical-240")].answers == ("ask_critical-240",)
    assert recipe.stages[f"ask_{PLAIN}"].examination.online is None and gsrm_of(PLAIN) == gsrm_of(EXACT) == "gsrm"
    exact = recipe.stages[f"ask_{EXACT}"]
    assert exact.data == "truth" and not exact.examination.has_reward_model and exact.start == "sft"
    assert recipe.stages["truth"].market.annotation_error == 0


def test_half_the_budget_is_compared_with_all_of_it() -> None:
    rows = {(row["cell"], row["other"]): row for row in differences(made_up())}
    low, high = BUDGETS[0], BUDGETS[1]
    assert rows[f"{CHOSEN}-{low}", f"random-{high}"]["steps_all_right"]["mean"] == pytest.approx(0.01, abs=0.005)
    assert rows[f"random-{low}", f"random-{high}"]["first_error_f1"]["mean"] == pytest.approx(-0.05, abs=0.002)
    assert rows[f"random-{low}", PLAIN]["first_error_f1"]["mean"] == pytest.approx(0.05, abs=0.003)


def test_an_interval_is_students() -> None:
    found = mean_of(np.array([0.1, 0.2, 0.4]))
    half = 4.302652729911275 * math.sqrt(np.var([0.1, 0.2, 0.4], ddof=1) / 3)
    assert found["mean"] == pytest.approx(0.7 / 3) and found["high"] - found["mean"] == pytest.approx(half)
    assert 0.05 < found["p"] < 0.2 and math.isnan(mean_of(np.array([0.3]))["low"])


def test_the_tables_name_what_is_compared() -> None:
    cells = made_up()
    del cells["random-120"]["31"]
    shown = table_text(table(cells))
    assert "| nobody | – | – | – | – | 72." in shown and "| 50." in shown
    assert "| at random | 120 | 70 | 9 | 4.5 |" in shown and shown.count("\n") == len(cell_names()) + 1
    compared = differences_text(differences(cells))
    assert "| nobody; every verdict is right | – | – | – | – | 102." in shown
    assert "| nobody; every verdict is right | nobody | +30." in compared and " | – | – |\n" in compared
    assert f"| {TITLES[CHOSEN]} {BUDGETS[0]} | at random {BUDGETS[1]} | +" in compared


def test_kept_numbers_count_until_the_cell_changes(tmp_path: Path) -> None:
    recipe = online_recipe(31, cell_names(), tmp_path)
    prints = {p.name: p.fingerprint for p in plan(recipe, recipe.load_domain(), to_run=False)}
    good = {"steps_all_right": 0.5, "fingerprint": f"{prints['evaluate_random-120']} {prints['gsrm_random-120']}"}
    kept = {"random-120": {"31": good}, "random-240": {"31": good}}
    assert gather(tmp_path, kept, [31]) == {"random-120": {"31": good}}


def test_a_page_without_markers_and_unknown_cells_are_one_line(cli: Callable, tmp_path: Path) -> None:
    for arguments, said in (
        ((), "online.md needs the lines"),
        (("--only", "luck-120"), "--only luck-120: expected one of plain, random-120"),
        (("--seed", "1"), "--seed 1: the report seeds are 31, 32"),
    ):  # fmt: skip
        code, _, error = cli("bench", "online", "--out", tmp_path / "o", "--docs", tmp_path / "docs", *arguments)
        assert code == 2 and said in error and error.count("\n") == 1


def test_it_renders_what_is_kept(cli: Callable, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    (docs / "results").mkdir(parents=True)
    (docs / "online.md").write_text("\n".join(["before", *marks(MARKS), "after\n"]), "utf-8")
    code, told, _ = cli("bench", "online", "--out", tmp_path / "o", "--docs", docs, "--render")
    text = (docs / "online.md").read_text("utf-8")
    assert code == 0 and "wrote" in told and text.startswith("before\n") and text.endswith("after\n")
    assert "Produced by `taosr-she bench online`" in text
    assert json.loads((docs / "results" / "online.json").read_text("utf-8"))["cells"] == {}
