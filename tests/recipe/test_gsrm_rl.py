"""A GSRM trained further by reinforcement learning: the whole stage on the toy shop, interrupted, and used by `rl`."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Annotation
from taosr_she.examine.gsrm import GSRM
from taosr_she.examine.store import AnnotationStore
from taosr_she.recipe.progress import Progress

from .conftest import PROMPT, SAMPLING, UPDATES, hybrid_stage, run_toy, toy_recipe


def better(**changed: Any) -> dict[str, Any]:
    """The stage; a high learning rate, so that four updates of a tiny model change its reasoning."""
    settings = {
        **UPDATES, "updates": 4, "checkpoint_every": 2, "learning_rate": 3e-3, "credit": {"rule": "outcome"},
        **changed.pop("settings", {}),
    }  # fmt: skip
    return {"kind": "gsrm_rl", "sampling": SAMPLING, "settings": settings, "resamples": 100, **changed}


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))


def metrics(stage: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (stage / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [{key: value for key, value in row.items() if "second" not in key} for row in rows]


class Interrupted(Progress):
    """Ends the run at the third update of the stage `again`, as Ctrl-C would."""

    def stage(self, name: str, total: int) -> Callable[[int, str], None]:
        def update(done: int, note: str) -> None:
            if name == "again" and done == 3:
                raise KeyboardInterrupt

        return update


@pytest.fixture(scope="module")
def run(shop: Path, toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the toy run, with a GSRM trained further, and a training that it examines."""
    folder = tmp_path_factory.mktemp("better") / "run"
    shutil.copytree(toy_run, folder)
    run_toy(toy_recipe(shop, folder, {"better": better(), "by_better": hybrid_stage(1, gsrm="better")}))
    return folder


def test_its_reasoning_changes_and_is_measured_beside_its_start(run: Path) -> None:
    stage = run / "stages" / "better"
    report, summary = read_json(stage / "examiners.json"), read_json(stage / "stage.json")["summary"]
    assert list(report["examiners"]) == ["gsrm", "start", "always_correct"]
    own, start = (report["examiners"][name]["metrics"] for name in ("gsrm", "start"))
    assert start == read_json(run / "stages/gsrm/examiners.json")["examiners"]["gsrm"]["metrics"], "the same responses"
    assert own != start and summary["first_error_f1"] == own["first_error_f1"]
    difference, low, high = report["differences"]["start"]["accuracy"]
    assert difference == pytest.approx(own["accuracy"] - start["accuracy"]) and low <= difference <= high
    assert summary["updates"] == 4 and summary["examples"] == report["training"]["examples"] > 0
    rows = metrics(stage)
    assert [row["step"] for row in rows] == [1, 2, 3, 4] and all(0 <= row["reward"] <= 1 for row in rows)
    assert max(row["signal_share"] for row in rows) > 0, "without signal this tests nothing"
    changed = load_file(stage / "checkpoint/model.safetensors")
    before = load_file(run / "stages/gsrm/checkpoint/model.safetensors")
    assert any(not torch.equal(changed[name], tensor) for name, tensor in before.items())


def test_it_can_be_loaded_and_examines_a_training(run: Path) -> None:
    domain = load_domain("taobao").with_overrides({"prompt": PROMPT})
    config = GSRM.load(run / "stages/better/checkpoint", domain).config
    assert config == GSRM.load(run / "stages/gsrm/checkpoint", domain).config and config.cache_size > 0
    assert read_json(run / "stages/by_better/stage.json")["summary"]["examined_by"] == "human_first"
    card = (run / "stages/better/checkpoint/README.md").read_text("utf-8")
    assert "critiques were trained by reinforcement learning" in card and "credit rule `outcome`" in card
    page = (run / "report.html").read_text("utf-8")
    assert "GSRM at the start" in page and "Stage better" in page


def test_interrupted_and_resumed_it_ends_with_the_same_numbers(shop: Path, run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    recipe = toy_recipe(shop, copy, {"better": better(), "again": better()})
    with pytest.raises(KeyboardInterrupt):
        run_toy(recipe, Interrupted(Console(quiet=True)))
    stages = copy / "stages"
    assert len(metrics(stages / "again")) == 3 and not (stages / "again" / "stage.json").exists()
    run_toy(recipe)
    assert metrics(stages / "again") == metrics(stages / "better")
    weights = [load_file(stages / name / "checkpoint/model.safetensors") for name in ("again", "better")]
    assert all(torch.equal(weights[0][name], tensor) for name, tensor in weights[1].items())
    assert read_json(stages / "again/examiners.json") == read_json(stages / "better/examiners.json")


@pytest.mark.parametrize(("reward", "rule"), [("fapo", "outcome"), ("steps", "srpo")])
def test_steps_that_are_read_and_other_rewards(
    reward: str, rule: str, shop: Path, toy_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(toy_run, tmp_path / "run")
    settings = {"updates": 1, "credit": {"rule": rule}}
    recipe = toy_recipe(shop, tmp_path / "run", {"better": better(reward=reward, settings=settings)})
    recipe["stages"]["gsrm"] |= {
        "gsrm": {"closed_steps": "read"}, "group_size": 1, "corrupted": 8, "corrupted_demonstrations": 8,
    }  # fmt: skip
    run_toy(recipe)
    report = read_json(tmp_path / "run/stages/better/examiners.json")
    assert report["examiners"]["gsrm"]["metrics"]["known"] == 1.0
    assert any(0 < b["value"] < 1 for b in report["examiners"]["gsrm"]["reliability"]), "read, not compared"
    (row,) = metrics(tmp_path / "run/stages/better")
    assert (-1 if reward == "fapo" else 0) <= row["reward"] <= 1


def test_a_gsrm_without_critique_has_nothing_to_train(shop: Path, toy_run: Path, tmp_path: Path) -> None:
    shutil.copytree(toy_run, tmp_path / "run")
    recipe = toy_recipe(shop, tmp_path / "run", {"better": better()})
    recipe["stages"]["gsrm"] |= {
        "gsrm": {"critique": False}, "group_size": 1, "corrupted": 8, "corrupted_demonstrations": 8,
    }  # fmt: skip
    with pytest.raises(UserError, match="stage 'better': the GSRM of 'gsrm' writes no critique"):
        run_toy(recipe)


def test_people_who_judged_responses_are_enough(shop: Path, toy_run: Path, tmp_path: Path) -> None:
    """No reference says what a step should be: supervised fine-tuning could not learn from these verdicts."""
    shutil.copytree(toy_run, tmp_path / "run")
    folder = tmp_path / "shop"
    shutil.copytree(shop, folder)
    training = {json.loads(line)["pair_id"] for line in (toy_run / "stages/data/training.jsonl").open()}
    with AnnotationStore(folder / "people.db") as store:
        kept = [a for a in store.select() if a.pair_id not in training]
    (folder / "people.db").unlink()
    judged = sorted(training)[:6]
    with AnnotationStore(folder / "people.db") as store:
        store.add(kept)
        verdicts = ["wrong" if n % 2 else "correct" for n in range(len(judged))]
        store.add(
            Annotation(pair_id, "category", "same", verdict, annotator="ann", response_id="r")
            for pair_id, verdict in zip(judged, verdicts, strict=True)
        )
    data = toy_recipe(shop, tmp_path / "run", {})["stages"]["data"]
    other = {**data, "annotations": str(folder / "people.db"), "probe_share": 0.0}
    recipe = toy_recipe(shop, tmp_path / "run", {"judged": other, "better": better(data="judged", group_size=0)})
    run_toy(recipe)
    training_report = read_json(tmp_path / "run/stages/better/examiners.json")["training"]
    assert training_report == {"examples": 6, "pairs": 6, "flawed": 3}
    assert not math.isnan(read_json(tmp_path / "run/stages/better/stage.json")["summary"]["accuracy"])
