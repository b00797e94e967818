"""The whole comparison on a toy shop: real stages in real worker processes, killed, resumed, collected, rendered."""

import itertools
import json
from pathlib import Path

import pytest
from rich.console import Console

from taosr_she.base.errors import UserError
from taosr_she.bench.cells import cells_of, run_cells
from taosr_she.bench.paper import command, kept, recipes, results, settings, tuning
from taosr_she.bench.paper.methods import METHODS, group
from taosr_she.bench.paper.recipes import method_stage, paper_recipe, variants
from taosr_she.bench.paper.settings import SETTINGS, Setting
from taosr_she.data.write import write_pairs
from taosr_she.domain.pair import Pair, Product

KEPT = ("sft", "label_sft", "rejection", "dpo", "grpo", "scalar", "srpo", "full", "half_steps")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    folder = tmp_path_factory.mktemp("toy")
    pairs = []
    words = itertools.product(
        ("", "new ", "buy ", "my "),
        ("red", "blue", "green"),
        ("boots", "tent"),
        ("red", "blue", "green"),
        ("boots", "tent"),
        ("", "big "),
    )
    for n, (wording, color, kind, other, other_kind, size) in enumerate(words):
        label = "I" if kind != other_kind else "E" if color == other else "S"
        query = f"{wording}{color} {kind}"
        pairs.append(Pair(f"p{n}", query, query, Product(f"{size}{other} {other_kind}"), label=label, tags=(color,)))
    write_pairs(folder / "pairs.jsonl", pairs)
    return Setting(
        "Toy shop", "Boots and tents.",
        data={
            "kind": "pairs", "path": str(folder / "pairs.jsonl"), "teacher": "lexical",
            "split": {"training": 0.5, "development": 0.2, "test": 0.3},
        },
        sft={"epochs": 16, "batch_size": 8, "learning_rate": 5e-3}, seeds={"main": (1, 2), "ablation": (1,)},
        domain="esci", domain_overrides=settings.NARROW, held_out_people=False, max_new_tokens=60,
        rl={"updates": 6, "pairs_per_update": 4, "group_size": 4}, robustness_pairs=5,
        tiny={"hidden": 48, "layers": 2, "heads": 4, "kv_heads": 2, "ffn": 96, "vocab_size": 400},
        curriculum=(2, 2, 2), slices=("red",), tuned_on="long_tail",
    )  # fmt: skip


@pytest.fixture
def bench(toy: Setting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in (settings, recipes, results, kept, command):
        monkeypatch.setattr(module, "SETTINGS", {"long_tail": toy})
    monkeypatch.setattr(command, "ORDER", (("long_tail", "main"), ("long_tail", "ablation")))
    few = {key: METHODS[key] for key in KEPT}
    for key in list(METHODS):
        if key not in few:
            monkeypatch.delitem(METHODS, key)
    monkeypatch.setattr(results, "STEP_RULES", ())
    monkeypatch.setattr(recipes, "WATCH_EVERY", 3)
    untuned = tmp_path / "untuned.json"
    untuned.write_text('{"settings": {}}')
    monkeypatch.setattr(recipes, "SHIPPED_TUNING", untuned)


@pytest.mark.slow
def test_the_bench_runs_once_resumes_and_writes_json_page_and_plots(
    bench: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "results.md").write_text(f"# Results\n\nBefore.\n\n{'<!-- from paper.json: begin -->'}\nold\n"
                                     f"{'<!-- from paper.json: end -->'}\n\nAfter.\n")  # fmt: skip

    def bench_paper(render: bool = False) -> str:
        command.paper(Console(width=200), tmp_path / "runs", docs, False, False, render, [], 2)
        return capsys.readouterr().out

    first = bench_paper()
    assert "failed" not in first and "0 done before" in first and "(0 cells missing)" in first
    again = bench_paper()
    assert "0 to run" in again
    written = json.loads((docs / "results" / "paper.json").read_text())
    rows = written["settings"]["long_tail"]["rows"]
    assert set(rows) == {*KEPT, "majority", "tfidf"} and written["missing"] == []
    for key, row in rows.items():
        assert row["seeds"] == ([1] if key == "half_steps" else [1, 2])
        cell = row["metrics"]["macro_f1"]
        assert cell["low"] <= cell["mean"] <= cell["high"] and "macro_f1 red" in row["metrics"]
    assert "against" not in rows["grpo"] and rows["srpo"]["against"]["macro_f1"]["base"] == "grpo"
    assert rows["half_steps"]["against"]["macro_f1"]["base"] == "srpo"
    assert rows["srpo"]["robustness"].keys() == {"typos", "word_order", "promotion", "injection"}
    assert [p["step"] for p in rows["grpo"]["curve"]] == [0, 3, 6] and rows["grpo"]["tokens"] > 0
    assert (
        rows["full"]["selection_tokens"] > 0 and rows["full"]["curve"][0]["tokens"] == rows["full"]["selection_tokens"]
    )
    assert rows["scalar"]["preparation_seconds"] > 0 == rows["grpo"]["preparation_seconds"]
    page = (docs / "results.md").read_text()
    assert page.startswith("# Results\n\nBefore.") and page.endswith("After.\n") and "old" not in page
    for title in ("| SFT (start) |", "| full system |", "| TF-IDF |", "### Ablations", "**Robustness**", "**Cost**"):
        assert title in page
    for image in ("long_tail-curves.png", "long_tail-entropy.png"):
        assert f"results/{image}" in page and (docs / "results" / image).stat().st_size > 10_000
    kept = (docs / "results" / "cells.json.gz").read_bytes()
    assert bench_paper(render=True) and (docs / "results.md").read_text() == page
    assert (docs / "results" / "cells.json.gz").read_bytes() == kept

    # On another machine, where nothing lies, nothing is run again.
    (tmp_path / "runs").rename(tmp_path / "elsewhere")
    assert "0 to run" in bench_paper() and (docs / "results.md").read_text() == page
    (tmp_path / "elsewhere").rename(tmp_path / "runs")

    # A row that is not there stays as it was run before, one of other settings does not, and the rest renders.
    (tmp_path / "runs/long_tail/seed-2/stages/evaluate_srpo/stage.json").unlink()
    assert "(0 cells missing)" in bench_paper(render=True) and (docs / "results.md").read_text() == page
    (docs / "results" / "cells.json.gz").unlink()
    assert "(1 cells missing)" in bench_paper(render=True)
    assert "| SRPO (1 of 2 seeds) |" in (docs / "results.md").read_text()


@pytest.mark.slow
def test_a_failed_cell_is_told_and_the_others_go_on(bench: None, tmp_path: Path) -> None:
    recipe = paper_recipe("long_tail", 1, variants("long_tail", ["sft", "dpo"]), tmp_path / "run")
    broken = recipe.model_copy(update={"stages": {**recipe.stages}})
    broken.stages["dpo"] = recipe.stages["dpo"].model_copy(  # type: ignore[union-attr]
        update={"settings": recipe.stages["dpo"].settings.model_copy(update={"max_length": 2})}  # type: ignore
    )
    said: list[str] = []
    failures = run_cells(cells_of([broken]), 2, said.append)
    assert [f.cell.split()[-1] for f in failures] == ["dpo", "evaluate_dpo"]
    assert "max_length" in failures[0].line and failures[1].line == "waits for a failed cell"
    assert (tmp_path / "run/stages/evaluate_sft/results.json").is_file()
    assert "Traceback" in (tmp_path / "run/dpo.log").read_text()


@pytest.mark.slow
def test_tuning_tries_four_settings_of_every_method_and_keeps_the_best(
    bench: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in [k for k in METHODS if k not in ("sft", "rejection", "grpo")]:
        monkeypatch.delitem(METHODS, key)
    tuning.tune("long_tail", tmp_path / "runs", 2, lambda line: None)
    written = json.loads((tmp_path / "runs" / "tuning.json").read_text())
    for row in written["settings"]["long_tail"].values():
        assert len(row["tried"]) == 4
        best = max(row["tried"], key=lambda t: t["macro_f1"])
        assert row["chosen"] == best["settings"]
    assert written["settings"]["long_tail"].keys() == {"rejection", "grpo"}
    assert recipes.tuned("long_tail") == {}  # what the comparison uses is changed by hand


def test_tuning_writes_among_its_runs_and_leaves_the_package_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = Path(recipes.__file__).parent
    before = {file: file.read_bytes() for file in package.iterdir() if file.is_file()}

    def scores(setting: str, folder: Path, grid: dict[str, list[dict[str, float]]], *_: object) -> dict[str, list]:
        return {n: [{"settings": s, "macro_f1": -s["learning_rate"]} for s in every] for n, every in grid.items()}

    monkeypatch.setattr(tuning, "_scores", scores)
    said: list[str] = []
    for setting in ("long_tail", "esci"):
        tuning.tune(setting, tmp_path, 1, said.append)
    written = json.loads((tmp_path / "tuning.json").read_text())["settings"]
    assert written.keys() == {"long_tail", "esci"}
    assert written["esci"]["grpo"]["chosen"] == {"learning_rate": 5e-5}
    assert str(tmp_path / "tuning.json") in said[0]
    assert {file: file.read_bytes() for file in package.iterdir() if file.is_file()} == before


@pytest.mark.parametrize("name", SETTINGS)
def test_every_recipe_is_valid_and_a_method_differs_from_the_next(name: str, tmp_path: Path) -> None:
    found = {}
    for key, method in METHODS.items():
        if method.kind != "none" and (method.group == "main" or SETTINGS[name].seeds.get(method.group)):
            found[key] = json.dumps(method_stage(SETTINGS[name], method, {}), sort_keys=True)
    assert len(set(found.values())) == len(found)
    if SETTINGS[name].data["kind"] == "market":
        recipe = paper_recipe(name, 11, variants(name, METHODS), tmp_path)
        assert {f"evaluate_{key}" for key in METHODS} <= recipe.stages.keys()


def test_report_seeds_are_never_tuned_on() -> None:
    for setting in SETTINGS.values():
        assert all(settings.DEVELOPMENT_SEED not in seeds for seeds in setting.seeds.values())
        assert len(setting.seeds["main"]) >= 5


def test_cells_come_in_the_order_of_the_page_after_what_they_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "ORDER", (("standard", "main"), ("long_tail", "ablation")))
    found = command.paper_cells(tmp_path, False, list(SETTINGS), {})
    keys = [c.key for c in found]
    assert len(set(keys)) == len(keys)
    for n, cell in enumerate(found):
        assert set(cell.after) <= set(keys[:n])
    folders = [folder for folder, _ in keys]
    assert folders.index(str(tmp_path / "long_tail/seed-11")) > folders.index(str(tmp_path / "standard/seed-15"))
    assert "evaluate_full" in {name for _, name in keys} and "full_flip0" not in {name for _, name in keys}


def test_an_unknown_setting_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--only moon: expected one of long_tail, standard, esci"):
        command.paper(Console(quiet=True), tmp_path, tmp_path, False, False, False, ["moon"], 1)


def test_groups_hold_every_method_once() -> None:
    assert sorted(group("main") + group("ablation") + group("noise")) == sorted(METHODS)
    assert {"grpo", "srpo", "full"} <= set(group("main"))


def test_the_rows_that_a_method_names_are_there() -> None:
    for method in METHODS.values():
        assert {method.tuned_as, method.against} - {""} <= METHODS.keys()
