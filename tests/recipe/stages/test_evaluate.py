"""The evaluate stage: decisions are chosen on development pairs and kept with the checkpoint."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from rich.console import Console

from taosr_she import load_judge
from taosr_she.base.errors import UserError
from taosr_she.data.read import read_pairs
from taosr_she.domain.domain import load_domain
from taosr_she.evaluate import minilm
from taosr_she.evaluate.choice import DecisionConfig
from taosr_she.evaluate.prediction import read_predictions
from taosr_she.judge.decision import saved_decision
from taosr_she.recipe.config import Recipe
from taosr_she.recipe.progress import Progress
from taosr_she.recipe.records import check_ours, verify_files
from taosr_she.recipe.run import run_recipe
from taosr_she.recipe.stages import KINDS
from taosr_she.recipe.stages import evaluate as stage_file
from taosr_she.recipe.table import results_table


def test_the_rule_is_chosen_on_development_pairs_kept_and_used(
    toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    shutil.copytree(toy_run, out)
    raw: dict[str, Any] = yaml.safe_load((out / "recipe.yaml").read_text("utf-8"))
    raw |= {"out": str(out), "track": "none"}
    raw["stages"]["by_rule"] = {
        "kind": "evaluate", "models": ["sft"], "baselines": ["majority"], "max_new_tokens": 40, "resamples": 100,
        "decision": {"rule": "tiers"},
    }  # fmt: skip
    seen: list[set[str]] = []

    def spy(domain: Any, development: Any, prior: Any, config: Any) -> Any:
        seen.append({p.pair_id for p in development})
        return choose(domain, development, prior, config)

    choose = stage_file.choose_decision
    monkeypatch.setattr(stage_file, "choose_decision", spy)
    recipe = Recipe.model_validate(raw)
    with Progress(Console(quiet=True)) as progress:
        run_recipe(recipe, progress)
    development = {p.pair_id for p in read_pairs(out / "stages/data/development.jsonl")}
    test = {p.pair_id for p in read_pairs(out / "stages/data/test.jsonl")}
    assert seen == [development, development] and not development & test

    results = json.loads((out / "stages/by_rule/results.json").read_text())
    model = results["models"]["sft"]
    own = saved_decision(out / "stages/sft/checkpoint", recipe.load_domain())
    assert own.name == model["decision"] and own.rule == "tiers"
    assert model["decision_scores"][own.name] == max(model["decision_scores"].values())
    assert list(results["labels_true"]["shares"]) == ["4", "3", "2", "1"] and results["people"] == {}
    assert load_judge(out / "stages/sft/checkpoint", device="cpu").decision == own
    assert ("decision rule", [results["models"]["majority"]["decision"], own.name]) in results_table(results).rows
    card = (out / "stages/sft/checkpoint/README.md").read_text("utf-8")
    assert f"(decision rule `{own.name}`, see `decision.json`)" in card
    assert f"decision rule {own.name}" in (out / "report.html").read_text("utf-8")
    # What it was chosen on is kept as written: the choice can be made again from the file.
    kept = list(read_predictions(out / "stages/by_rule/development-sft.jsonl"))
    assert {p.pair_id for p in kept} == development
    domain = recipe.load_domain()
    assert choose(domain, kept, {}, DecisionConfig(rule="tiers")) == (own, model["decision_scores"])
    assert all(p.predicted is None or f"[label] {p.predicted}" in p.response for p in kept)
    check_ours(out / "stages/sft")  # the file beside the weights is neither foreign nor damage
    verify_files(out / "stages/sft", "sft")


def test_a_decision_left_open_is_not_measured_where_it_is_chosen() -> None:
    stage = {"kind": "evaluate", "models": ["sft"], "split": "development"}
    with pytest.raises(ValidationError, match="chosen on the development pairs: measure on the test split"):
        KINDS["evaluate"].model_validate(stage | {"decision": {"rule": "auto"}})
    assert KINDS["evaluate"].model_validate(stage | {"decision": {"rule": "argmax"}})
    assert "decision" not in KINDS["evaluate"].model_validate(stage).computed()


def test_a_baseline_that_is_not_installed_is_told_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "find_spec", lambda module: None)
    stage = KINDS["evaluate"].model_validate({"kind": "evaluate", "models": [], "baselines": ["majority", "minilm"]})
    with pytest.raises(UserError, match="pip install --no-deps sentence-transformers"):
        stage.check("evaluate", load_domain("taobao"))
