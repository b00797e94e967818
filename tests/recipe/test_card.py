"""The model card: its head is what the hub reads, its facts are the run's, its examples run."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from taosr_she.data.read import read_pairs
from taosr_she.data.write import write_pairs
from taosr_she.domain.domain import load_domain
from taosr_she.recipe.card import base_model, model_card
from taosr_she.recipe.config import Recipe

CHECKPOINTS = {"sft", "scalar_reward_model", "gsrm", "hybrid", "gsrm_only", "by_scalar", "labels", "turned"}


def card_of(run: Path, stage: str) -> ModelCard:
    return ModelCard.load(run / "stages" / stage / "checkpoint" / "README.md")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_every_checkpoint_has_a_card_that_the_hub_can_read(toy_run: Path) -> None:
    assert {path.parent.parent.name for path in toy_run.glob("stages/*/checkpoint/README.md")} == CHECKPOINTS
    for stage in CHECKPOINTS:
        card = card_of(toy_run, stage)
        assert card.data.library_name == "transformers" and "taosr-she" in card.data.tags
        assert card.data.pipeline_tag == (
            "text-classification" if stage == "scalar_reward_model" else "text-generation"
        )
        assert card.data.base_model is None, "a tiny model has none"
        headings = re.findall(r"^## (.*)$", card.text, re.MULTILINE)
        assert headings == ["What it judges", "How to use it", "What it was trained on", "How good it is", "Limits"]


def test_its_facts_are_those_of_the_run(toy_run: Path) -> None:
    text = card_of(toy_run, "hybrid").text
    record = json.loads((toy_run / "stages/hybrid/stage.json").read_text())
    data = json.loads((toy_run / "stages/data/stage.json").read_text())
    assert record["fingerprint"] in text and data["fingerprint"] in text and "seed 1" in text
    assert f"{data['summary']['training']:,} training" in text and "credit rule `srpo`" in text
    assert "`pairs.jsonl`" in text and str(toy_run) not in text and "people.db" not in text, "a path stays at home"
    settings = yaml.safe_load(blocks(text, "yaml")[0])
    assert settings == yaml.safe_load((toy_run / "recipe.yaml").read_text())["stages"]["hybrid"]
    results = json.loads((toy_run / "stages/evaluate/results.json").read_text())
    low, high = results["models"]["hybrid"]["intervals"]["macro_f1"]
    value = results["models"]["hybrid"]["metrics"]["macro_f1"]
    assert f"| macro-F1 | {100 * value:.1f} | {100 * low:.1f} to {100 * high:.1f} |" in text
    assert f"{results['pairs']} pairs of the test split" in text and "development pairs that were watched" in text
    gsrm = json.loads((toy_run / "stages/gsrm/examiners.json").read_text())["examiners"]["gsrm"]["metrics"]
    assert f"| accuracy | {100 * gsrm['accuracy']:.1f} |" in card_of(toy_run, "gsrm").text
    assert "It was not measured in this run." in card_of(toy_run, "turned").text


def test_its_examples_run(
    toy_run: Path,
    tmp_path: Path,
    cli: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As somebody who got the folder would use them: copied away, with the domain where the card says it is."""
    checkpoint = tmp_path / "stages" / "hybrid" / "checkpoint"
    shutil.copytree(toy_run / "stages" / "hybrid" / "checkpoint", checkpoint)
    shutil.copy(toy_run / "domain.yaml", tmp_path / "domain.yaml")
    write_pairs(checkpoint / "pairs.jsonl", read_pairs(toy_run / "stages/data/test.jsonl")[:3])
    text = (checkpoint / "README.md").read_text("utf-8")
    (python,), (shell,) = blocks(text, "python"), blocks(text, "bash")
    monkeypatch.chdir(checkpoint)
    exec(python, {})
    assert capsys.readouterr().out.split()[0] in (*load_domain("taobao").codes, "None")
    name, *arguments = shell.split()
    assert name == "taosr-she" and cli(*arguments)[0] == 0
    assert len((checkpoint / "judged.jsonl").read_text().splitlines()) == 3


def written(tmp_path: Path, stages: dict[str, Any], **more: Any) -> Recipe:
    recipe = Recipe.model_validate({"name": "r", "out": str(tmp_path), "stages": stages, **more})
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")), "utf-8")
    return recipe


def test_a_base_model_of_the_hub_is_in_the_head_and_a_folder_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    for model, named in (("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"), (str(folder), None), ("tiny", None)):
        stages = {"data": {"kind": "market"}, "sft": {"kind": "sft", "model": model}, "rl": {"kind": "rl"}}
        text = model_card(written(tmp_path, stages), load_domain("esci"), "rl", {})
        assert ModelCard(text).data.base_model == named
        assert str(tmp_path) not in text.split("## How good")[0].split("All settings")[0]
        assert base_model(stages | {"rl": {"start": "sft"}}, "rl") == model


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script> | x", "`a` **b** [c](http://d)\n---\nkey: value", "{}: - '"]
)
def test_hostile_names_are_text(tmp_path: Path, hostile: str) -> None:
    stages = {"data": {"kind": "market"}, "sft": {"kind": "sft"}}
    domain = load_domain("esci")
    grade = domain.labels[0].model_copy(update={"name": hostile, "meaning": hostile})
    domain = domain.model_copy(update={"labels": (grade, *domain.labels[1:])})
    text = model_card(written(tmp_path, stages, name=hostile), domain, "sft", {"summary": {"note": hostile}})
    card = ModelCard(text)
    assert card.data.tags == ["taosr-she", "search-relevance", "sft"] and "key" not in card.data.to_dict()
    rendered = MarkdownIt("commonmark").enable("table").render(card.text)
    assert "<script" not in rendered and "<a " not in rendered and "<strong>" not in rendered
    assert rendered.count("<table>") == 2
