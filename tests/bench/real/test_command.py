"""The comparison on real pairs, on a toy shop with the tiny model: real stages, resumed, collected, rendered."""

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from taosr_she.base.errors import UserError
from taosr_she.bench.cells import Cell
from taosr_she.bench.real import command, kept, recipes, results, settings
from taosr_she.bench.real.rows import ROWS
from taosr_she.bench.real.settings import RealSetting
from taosr_she.data.write import write_pairs
from taosr_she.domain.pair import Pair, Product

MARKS = "<!-- from real.json: begin -->\n<!-- from real.json: end -->"
# The full system is left out: the tiny model, hardly trained here, is right about no pair, so no band has any.
FEW = ("majority", "tfidf", "labels", "sft", "dpo", "grpo", "srpo", "hybrid", "first", "student")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Boots and tents, graded by three people of whom the third is sometimes wrong."""
    pairs = []
    words = itertools.product(("", "new ", "buy ", "my "), ("red", "blue", "green"), ("boots", "tent"), repeat=2)
    for n, (wording, color, kind, _, other, other_kind) in enumerate(words):
        label = "I" if kind != other_kind else "E" if color == other else "S"
        query = f"{wording}{color} {kind}"
        raters = [label, label, "C" if n % 7 == 0 else label]
        pairs.append(
            Pair(f"p{n}", query, query, Product(f"{other} {other_kind} {n}"), label=label, extra={"raters": raters})
        )
    write_pairs(tmp_path / "pairs.jsonl", pairs[::3])
    toy = RealSetting(
        "Toy shop", "Boots and tents.", domain="esci",
        data={
            "kind": "pairs", "path": str(tmp_path / "pairs.jsonl"), "teacher": "lexical",
            "split": {"training": 0.5, "development": 0.2, "test": 0.3},
        },
        max_new_tokens=140, rl={"updates": 3, "pairs_per_update": 4, "group_size": 4},
    )  # fmt: skip
    for module in (settings, recipes, results, kept, command):
        monkeypatch.setattr(module, "SETTINGS", {"toy": toy})
    for module in (settings, recipes, results, kept, command):
        if hasattr(module, "FOLDS"):
            monkeypatch.setattr(module, "FOLDS", 3)
    monkeypatch.setattr(recipes, "MODEL", "tiny")
    monkeypatch.setattr(recipes, "WARM_UP", {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3})
    monkeypatch.setattr(recipes, "SFT", {"epochs": 4, "batch_size": 8, "learning_rate": 5e-3})
    monkeypatch.setattr(recipes, "STUDENT", {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3})
    monkeypatch.setattr(recipes, "MATCHING", {"count": 40})
    gsrm = settings.GSRM | {"corrupted": 20, "corrupted_demonstrations": 20, "settings": {"learning_rate": 1e-3}}
    monkeypatch.setattr(recipes, "GSRM", gsrm)
    for row in list(ROWS):
        if row not in FEW:
            monkeypatch.delitem(ROWS, row)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "results.md").write_text(f"# Results\n\nBefore.\n\n{MARKS}\n\nAfter.\n")
    (tmp_path / "README.md").write_text(f"# Toy\n\n{MARKS}\n\nMore.\n")
    return tmp_path


def run(shop: Path, **options: object) -> list[str]:
    console = Console(record=True, width=300)
    chosen = {"only": [], "folds": [], "rows": [], "render": False, "threads": 1} | options
    command.real(console, shop / "runs", shop / "docs", **chosen)  # type: ignore[arg-type]
    return console.export_text().splitlines()


@pytest.mark.slow
def test_rows_are_run_once_kept_and_compared_on_the_pairs_of_both(shop: Path) -> None:
    run(shop, folds=[1], workers=2)
    found = json.loads((shop / "docs" / "results" / "real.json").read_text())["settings"]["toy"]
    assert list(found["rows"]) == list(FEW) and all(row["folds"] == [1] for row in found["rows"].values())
    page = (shop / "docs" / "results.md").read_text()
    assert page.startswith("# Results\n\nBefore.") and page.endswith("After.\n")
    assert (
        "Not everything has been run" in page and "| SRPO (fold 1) |" in page and "*one person against another*" in page
    )
    # The label alone has no steps: it is compared in labels only.
    for bare in ("labels", "first", "student"):
        assert "steps_all_right" not in found["rows"][bare]["metrics"]
        assert found["rows"][bare]["seconds"]["cpu"]["training"] > 0
    assert set(found["rows"]["labels"]["against"]["grpo"]) == {"macro_f1", "qwk", "accuracy"}
    assert set(found["rows"]["srpo"]["against"]) == {"tfidf", "sft", "grpo"}
    assert set(found["rows"]["srpo"]["argmax_against"]) == {"tfidf", "sft", "grpo"}
    chosen = found["rows"]["majority"]  # one label whatever the pair: no rule can change it
    assert chosen["argmax"] == {key: chosen["metrics"][key] for key in ("macro_f1", "qwk", "accuracy")}
    said = found["gsrm"]  # of a model that hardly learnt anything, so only its place is checked
    assert said["folds"] == [1] and said["responses"] > 0
    assert set(said["examiners"]) == {"gsrm", "always_correct", "base_rate"}
    assert "The GSRM (fold 1) of the rows above that have one" in page and "| every step called right |" in page
    lines = run(shop, rows=["sft", "tfidf"])  # fold 1 is kept, and fold 0 is the development fold
    assert any("0 done before" in line for line in lines)
    found = json.loads((shop / "docs" / "results" / "real.json").read_text())["settings"]["toy"]
    assert found["rows"]["sft"]["folds"] == [1, 2] and found["rows"]["srpo"]["folds"] == [1]
    assert found["rows"]["sft"]["pairs"] > found["rows"]["srpo"]["pairs"]
    before = (shop / "docs" / "results.md").read_text()
    (shop / "runs").rename(shop / "gone")  # the kept file alone gives the same page
    run(shop, render=True)
    assert (shop / "docs" / "results.md").read_text() == before


@pytest.mark.parametrize(("workers", "order"), [(1, [1, 1, 1, 2, 2, 2]), (2, [1, 2, 1, 2, 1, 2])])
def test_several_workers_take_the_folds_side_by_side(
    workers: int, order: list[int], shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    def note(cells: list[Cell], number: int, say: object) -> list[object]:
        assert number == workers
        started.extend(int(cell.recipe.folder.name.removeprefix("fold-")) for cell in cells)
        return []

    monkeypatch.setattr(command, "run_cells", note)
    run(shop, rows=["majority", "tfidf"], workers=workers)
    assert started == order  # of the data stage and two rows


def test_the_fold_that_settings_were_chosen_on_is_shown_apart(shop: Path) -> None:
    run(shop, folds=[0, 2], rows=["majority"])
    found = json.loads((shop / "docs" / "results" / "real.json").read_text())
    of = {part: found[part]["toy"]["rows"]["majority"]["folds"] for part in ("settings", "development")}
    assert of == {"settings": [2], "development": [0]}
    readme = (shop / "README.md").read_text()
    assert readme.startswith("# Toy\n") and readme.endswith("More.\n")
    assert "| Toy shop, macro-F1 | Toy shop, QWK |" in readme and "*one person against another*" in readme
    assert "Majority label" not in readme, "the README's table is a short one"
    page = (shop / "docs" / "results.md").read_text()
    apart = page.index("The development fold; settings were chosen on it")
    assert (
        page.index("| Majority label (fold 2) |")
        < page.index("**Without decision rules**")
        < apart
        < page.rindex("| Majority label |")
    )


def test_a_folder_has_the_rows_of_one_training(shop: Path) -> None:
    run(shop, folds=[2], rows=["majority"])
    with pytest.raises(UserError, match="runs has rows of --training cpu: name another folder with --out for gpu"):
        run(shop, training="gpu")
    (shop / "runs").rename(shop / "gone")
    lines = run(shop, folds=[2], rows=["majority"], training="gpu")
    assert any(line.startswith("0 cells") for line in lines), "a classic baseline is the same in every training"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": ["wands"]}, "--only wands: expected one of toy"),
        ({"rows": ["ppo"]}, "--row ppo: expected one of majority"),
        ({"training": "tpu"}, "--training tpu: expected one of cpu, gpu"),
        ({"folds": [3]}, "--fold 3: folds are numbered from 0 to 2"),
    ],
)
def test_what_is_not_there_is_one_line(shop: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(shop, **options)


@pytest.mark.parametrize("name", ["docs/results.md", "README.md"])
@pytest.mark.parametrize("text", [None, "# Results\n"])
def test_a_page_without_a_place_for_the_tables_is_told_before_the_runs(name: str, text: str | None, shop: Path) -> None:
    page = shop / name
    page.unlink()
    if text is not None:
        page.write_text(text)
    with pytest.raises(UserError, match=rf"{re.escape(page.name)} needs the lines <!-- from real\.json: begin -->"):
        run(shop)
    assert not (shop / "runs").exists()


def test_a_student_learns_from_srpo_and_label_first_from_the_label_alone() -> None:
    stages = recipes.real_recipe("chorus", 1, ["first", "student"], Path("runs"), 1).stages
    assert list(stages) == [
        "data", "label_data", "labels", "demonstrations", "sft", "first", "evaluate_first", "srpo", "student",
        "evaluate_student",
    ]  # fmt: skip
    assert stages["first"].start == stages["student"].start == "labels" and stages["student"].teacher == "srpo"
    assert stages["evaluate_student"].label_mode == ("student",) and stages["first"].domain_overrides["answer_first"]
    alone = recipes.real_recipe("chorus", 1, ["first"], Path("runs"), 1).stages
    assert list(alone) == ["data", "label_data", "labels", "first", "evaluate_first"]


def test_reasoning_is_learnt_after_the_label_alone_and_zero_shot_is_told_the_grades() -> None:
    whole = recipes.real_recipe("chorus", 1, ["zero", "labels", "grpo"], Path("runs"), 1)
    domain, stages = whole.load_domain(), whole.stages
    assert list(stages) == [
        "data", "zero", "label_data", "labels", "demonstrations", "sft", "evaluate_zero", "evaluate_labels", "grpo",
        "evaluate_grpo",
    ]  # fmt: skip
    assert whole.domain_of("labels", domain).step_keys == ("label",) and not domain.prompt.instruction
    assert whole.domain_of("sft", domain) == domain == whole.domain_of("grpo", domain)
    told = whole.domain_of("zero", domain)
    assert told.prompt.show_labels and told.prompt.instruction and told.step_keys == ("label",)
    alone = recipes.real_recipe("chorus", 1, ["tfidf"], Path("runs"), 1)
    assert list(alone.stages) == ["data", "evaluate_tfidf"]


def test_demonstrations_made_in_another_way_leave_the_pairs_of_all_rows_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise, every other way to make them would cost all kept baselines."""
    stages = recipes.real_recipe("esci", 1, ["tfidf", "srpo"], Path("runs"), 1).stages
    alone = recipes.real_recipe("esci", 1, ["tfidf"], Path("runs"), 1).stages
    assert stages["data"] == alone["data"] and alone["data"].matching is None
    made = stages["demonstrations"]
    assert stages["sft"].data == "demonstrations" and stages["sft"].label_weight > 1
    assert made.typed.guess == "words" and made.matching.count == 1200 and made.fold == stages["data"].fold
    assert made.matching.queries == stages["label_data"].matching.queries == made.typed.queries
    assert stages["srpo"].start == "sft" and stages["srpo"].data == "data"
    same = replace(settings.SETTINGS["esci"], demonstrations={}, sft={})
    monkeypatch.setattr(recipes, "SETTINGS", {"esci": same})
    plain = recipes.real_recipe("esci", 1, ["srpo"], Path("runs"), 1).stages
    assert "demonstrations" not in plain and plain["sft"].data == "data"
