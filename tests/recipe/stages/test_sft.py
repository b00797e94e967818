"""Fine-tuning in two stages: the label alone, with exercises, and then whole responses."""

import itertools
import json
from pathlib import Path
from random import Random

import pytest
import torch
from pydantic import ValidationError
from rich.console import Console

from taosr_she.base.errors import UserError
from taosr_she.data.demonstration import read_demonstrations
from taosr_she.data.write import write_pairs
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.model.policy import load_policy
from taosr_she.recipe.attempts import Attempts
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


def blind(folder: Path, **options: object) -> Recipe:
    """The label alone, drawn for each pair, so there is nothing to be learnt but how frequent each is."""
    draws, words = Random(1), itertools.product("abcdefghij", "klmnopqrstuvwxyz")
    write_pairs(
        folder / "pairs.jsonl",
        [Pair(a + b, f"{a}{b} boots", f"{a}{b} boots", Product("boots"), label=draws.choice("EI")) for a, b in words],
    )
    data = {"kind": "pairs", "path": str(folder / "pairs.jsonl"), "teacher": "label"}
    alone = {
        "kind": "sft", "domain_overrides": {"steps": [ESCI.steps[ESCI.label_step].model_dump(mode="json")]},
        "settings": {"epochs": 1, "batch_size": 4, "learning_rate": 3e-3}, **options,
    }  # fmt: skip
    return Recipe.model_validate(
        {
            "name": "blind", "seed": 1, "out": str(folder / "run"), "domain": "esci", "threads": 1, "device": "cpu",
            "stages": {"data": data, "warm_up": alone},
        }
    )  # fmt: skip


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_policy(folder / "run" / "stages" / "warm_up" / "checkpoint", "cpu", "float32").model.state_dict()


def test_a_model_that_knows_only_the_frequencies_of_labels_is_told(tmp_path: Path) -> None:
    said = Console(record=True, width=400)
    run_recipe(blind(tmp_path), progress=Progress(said))
    summary = json.loads((tmp_path / "run" / "stages" / "warm_up" / "stage.json").read_text())["summary"]
    assert -0.3 < summary["label_learnt"] < 0.2 and "attempts" not in summary
    assert "of a model that knows how frequent each label is, and nothing of the pairs" in said.export_text()


def test_such_a_training_starts_again_in_another_order_and_a_killed_stage_goes_on_with_its_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once, whole, killed = (tmp_path / name for name in ("once", "whole", "killed"))
    for folder in (once, whole, killed):
        folder.mkdir()
    run_recipe(blind(once), progress=Progress(Console(quiet=True)))
    run_recipe(blind(whole, attempts=3), progress=Progress(Console(quiet=True)))
    stage = whole / "run" / "stages" / "warm_up"
    summary, before = (json.loads((stage / name).read_text()) for name in ("stage.json", "attempts.json"))
    assert summary["summary"]["attempts"] == 3 and len(before["learnt"]) == 2
    assert any(not torch.equal(a, b) for a, b in zip(weights(once).values(), weights(whole).values(), strict=True))

    noted = Attempts.again

    def end(self: Attempts, learnt: float) -> None:
        noted(self, learnt)
        raise KeyboardInterrupt

    monkeypatch.setattr(Attempts, "again", end)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(blind(killed, attempts=3), progress=Progress(Console(quiet=True)))
    monkeypatch.setattr(Attempts, "again", noted)
    run_recipe(blind(killed, attempts=3), progress=Progress(Console(quiet=True)))
    assert json.loads((killed / "run" / "stages" / "warm_up" / "attempts.json").read_text()) == before
    for name, weight in weights(whole).items():
        assert torch.equal(weights(killed)[name], weight)


def test_attempts_are_for_the_label_alone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`attempts` is for the label alone, where `label_weight` changes nothing"):
        SFTStage.model_validate({"kind": "sft", "attempts": 2, "label_weight": 8.0})
    with pytest.raises(
        UserError, match=r"stage 'sft': attempts is for the label alone, and here responses have \d steps"
    ):
        SFTStage.model_validate({"kind": "sft", "attempts": 2}).check("sft", ESCI)
    assert "attempts" not in SFTStage.model_validate({"kind": "sft"}).computed()


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
