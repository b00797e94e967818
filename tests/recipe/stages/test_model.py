"""A model as it is: saved with the run's domain, measured, and described as what nobody trained."""

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from rich.console import Console

from taosr_she.data.write import write_pairs
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.prompt import render_prompt
from taosr_she.model.policy import save_policy
from taosr_she.model.tiny import TinyConfig, build_tiny
from taosr_she.recipe.config import Recipe
from taosr_she.recipe.progress import Progress
from taosr_she.recipe.run import run_recipe

ESCI = load_domain("esci")


@pytest.mark.parametrize("alone", [False, True])
def test_a_run_measures_a_model_that_it_did_not_train(alone: bool, tmp_path: Path) -> None:
    pairs = [
        Pair(f"p{n}", f"q{n % 8}", f"red {n % 8}", Product(f"red mug {n}"), label="ESCI"[n % 4]) for n in range(48)
    ]
    write_pairs(tmp_path / "pairs.jsonl", pairs)
    texts = [render_prompt(ESCI, pair) + "[label] E" for pair in pairs]
    save_policy(build_tiny(texts, ESCI, TinyConfig(max_positions=2048), seed=1), tmp_path / "found")
    steps = [ESCI.steps[ESCI.label_step].model_dump(mode="json")]
    measured = {"models": [], "label_mode": ["zero"]} if alone else {"models": ["zero"]}
    recipe = Recipe.model_validate(
        {
            "name": "zero", "out": str(tmp_path / "run"), "threads": 1, "domain": "esci",
            "stages": {
                "data": {"kind": "pairs", "path": str(tmp_path / "pairs.jsonl")},
                "zero": {"kind": "model", "model": str(tmp_path / "found")}
                | ({"domain_overrides": {"steps": steps}} if alone else {}),
                "evaluate": {"kind": "evaluate", "resamples": 100, "max_new_tokens": 16, **measured},
            },
        }
    )  # fmt: skip
    with Progress(Console(quiet=True)) as progress:
        run_recipe(recipe, progress)
    (model,) = json.loads((tmp_path / "run/stages/evaluate/results.json").read_text())["models"].values()
    text = ModelCard.load(tmp_path / "run/stages/zero/checkpoint/README.md").text
    assert (
        "as it was found" in text and "Nothing in this run: `found`" in text and "not trained for this domain" in text
    )
    assert "It was trained" not in text and "On " in text.split("## How good it is")[1]
    assert (model["metrics"]["malformed"] == 0) is alone  # a label that is read cannot be malformed
