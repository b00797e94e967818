"""Fine-tuning in two stages: the label alone, with exercises, and then whole responses."""

import itertools
import json
from pathlib import Path
from random import Random

import pytest
import torch
from pydantic import ValidationError
from rich.console import Console

from taosr_she.data.demonstration import read_demonstrations
from taosr_she.data.write import write_pairs
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.model.policy import load_policy
from taosr_she.recipe.config import Recipe
from taosr_she.recipe.progress import Progress
from taosr_she.recipe.run import run_recipe
from taosr_she.recipe.stages.sft import SFTStage

ESCI = load_domain("esci")
COLORS, KINDS = ("red", "blue", "green"), ("boots", "tent", "mug")


def two_stages(folder: Path, **sft: object) -> Recipe:
    pairs = [
        Pair(f"p{n}", query := f"{color} {kind}", query, Product(f"{other} {thing}"), label="EI"[kind != thing])
        for n, (color, kind, other, thing) in enumerate(itertools.product(COLORS, KINDS, COLORS, KINDS))
    ]  # fmt: skip
    write_pairs(folder / "pairs.jsonl", pairs)
    data = {"kind": "pairs", "path": str(folder / "pairs.jsonl")}
    alone = [ESCI.steps[ESCI.label_step].model_dump(mode="json")]
    still = {"epochs": 1, "learning_rate": 1e-20}
    return Recipe.model_validate(
        {
            "name": "two", "seed": 1, "out": str(folder / "run"), "domain": "esci", "threads": 1, "device": "cpu",
            "stages": {
                "data": data,
                "labels": {**data, "teacher": "label", "matching": {"count": 30}},
                "warm_up": {"kind": "sft", "data": "labels", "domain_overrides": {"steps": alone},
                            "settings": {"epochs": 1, "batch_size": 16}},
                "sft": {"kind": "sft", "start": "warm_up", "settings": still, **sft},
            },
        }
    )  # fmt: skip


def test_the_label_alone_is_learnt_first_and_the_chain_continues_from_there(tmp_path: Path) -> None:
    recipe = two_stages(tmp_path)
    run_recipe(recipe, progress=Progress(Console(quiet=True)))
    stages = tmp_path / "run" / "stages"
    shown = list(read_demonstrations(stages / "labels" / "demonstrations.jsonl"))
    made = [d for d in shown if d.pair_id.startswith("match-")]
    assert len(made) == 30 and {d.response for d in made} == {"[label] E", "[label] I"}
    assert all(d.taught == ("label",) for d in shown)
    assert load_domain(stages / "warm_up" / "checkpoint" / "domain.yaml").step_keys == ("label",)
    assert load_domain(stages / "sft" / "checkpoint" / "domain.yaml") == recipe.load_domain()
    before, after = (load_policy(stages / name / "checkpoint", "cpu", "float32").model for name in ("warm_up", "sft"))
    for name, weight in before.named_parameters():  # at this rate nothing moves, so it is the start that is seen
        torch.testing.assert_close(after.get_parameter(name), weight)


def test_a_model_that_knows_only_the_frequencies_of_labels_is_told(tmp_path: Path) -> None:
    """Labels are drawn, so there is nothing else to be learnt from a pair."""
    draws, words = Random(1), itertools.product("abcdefghij", "klmnopqrstuvwxyz")
    write_pairs(
        tmp_path / "pairs.jsonl",
        [Pair(a + b, f"{a}{b} boots", f"{a}{b} boots", Product("boots"), label=draws.choice("EI")) for a, b in words],
    )
    data = {"kind": "pairs", "path": str(tmp_path / "pairs.jsonl"), "teacher": "label"}
    alone = {
        "kind": "sft", "domain_overrides": {"steps": [ESCI.steps[ESCI.label_step].model_dump(mode="json")]},
        "settings": {"epochs": 1, "batch_size": 4, "learning_rate": 3e-3},
    }  # fmt: skip
    recipe = {"name": "blind", "seed": 1, "out": str(tmp_path / "run"), "domain": "esci", "threads": 1, "device": "cpu"}
    said = Console(record=True, width=400)
    run_recipe(Recipe.model_validate(recipe | {"stages": {"data": data, "warm_up": alone}}), progress=Progress(said))
    summary = json.loads((tmp_path / "run" / "stages" / "warm_up" / "stage.json").read_text())["summary"]
    assert -0.3 < summary["label_learnt"] < 0.2
    assert "of a model that knows how frequent each label is, and nothing of the pairs" in said.export_text()


def test_two_starts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"starts from a stage \(`start`\) or from a `model`: name one of them"):
        two_stages(tmp_path, model="smollm2-135m")


def test_a_stage_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"stage 'sft' needs an earlier .*sft.* called 'other'"):
        two_stages(tmp_path, start="other")


def test_a_weight_of_the_label_needs_our_own_engine_and_is_no_new_training_while_it_is_one() -> None:
    with pytest.raises(ValidationError, match=r"label_weight needs `settings\.engine: own`"):
        SFTStage.model_validate({"kind": "sft", "label_weight": 8.0, "settings": {"engine": "trl"}})
    plain, weighed = (SFTStage.model_validate({"kind": "sft", "label_weight": w}) for w in (1.0, 8.0))
    assert "label_weight" not in plain.computed() and weighed.computed()["label_weight"] == 8.0
