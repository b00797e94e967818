"""A toy shop that a very small model learns in seconds, and a run on it: people, a GSRM, a scalar reward model."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from taosr_she.data.demonstration import Demonstration, write_demonstrations
from taosr_she.data.split import split_by_query
from taosr_she.data.write import write_pairs
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Annotation, Pair, Product
from taosr_she.domain.response import render_response
from taosr_she.examine.store import AnnotationStore
from taosr_she.recipe.config import Recipe
from taosr_she.recipe.progress import Progress
from taosr_she.recipe.run import run_recipe

COLORS, KINDS, WORDINGS = ("red", "blue", "green"), ("boots", "tent"), ("", "new ", "buy ", "nice ")
SPLIT = {"training": 0.5, "development": 0.3, "test": 0.2}
SAMPLING = {"max_new_tokens": 40}
PROMPT = {
    "instruction": "", "show_labels": False, "show_rules": False, "show_format": False,
    "fields": [{"name": "title", "heading": "Title"}],
}  # fmt: skip
UPDATES = {"pairs_per_update": 4, "group_size": 4, "keep_rollouts_every": 1, "sampling": SAMPLING}


def truth(color: str, kind: str, other: str, other_kind: str) -> dict[str, str]:
    """The right conclusion of every step, for a query for a kind in a color and a product that is another."""
    return {
        "query": f"category: {kind}; color: {color}", "product": f"category: {other_kind}; color: {other}",
        "category": "same" if kind == other_kind else "other",
        "attributes": f"color: {'match' if color == other else 'conflict'}",
        "label": "1" if kind != other_kind else "4" if color == other else "3",
    }  # fmt: skip


def write_shop(folder: Path) -> None:
    """144 pairs, their demonstrations, and a store: two people annotated all development and 30% of training pairs."""
    domain = load_domain("taobao")
    pairs, steps = [], {}
    for i, (wording, *words) in enumerate(itertools.product(WORDINGS, COLORS, KINDS, COLORS, KINDS)):
        color, kind, other, other_kind = words
        steps[f"p{i}"] = truth(color, kind, other, other_kind)
        product = Product(f"{other} {other_kind}")
        query = f"{wording}{color} {kind}"
        pairs.append(Pair(f"p{i}", query, query, product, label=steps[f"p{i}"]["label"]))
    write_pairs(folder / "pairs.jsonl", pairs)
    shown = [Demonstration(pair_id, render_response(domain, said), "toy") for pair_id, said in steps.items()]
    write_demonstrations(folder / "demonstrations.jsonl", shown)
    splits = split_by_query(pairs, SPLIT, 1)
    training = splits["training"][: round(0.3 * len(splits["training"]))]
    with AnnotationStore(folder / "people.db") as store:
        store.add(
            Annotation(pair.pair_id, step, conclusion, annotator=name)
            for pair in training + splits["development"]
            for step, conclusion in steps[pair.pair_id].items()
            if step != "label"
            for name in ("ann", "bob")
        )


def toy_recipe(shop: Path, out: Path, stages: dict[str, Any]) -> dict[str, Any]:
    """Data, SFT, scalar reward model and GSRM on the shop, then `stages`."""
    gsrm = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3}
    return {
        "name": "toy", "seed": 1, "out": str(out), "threads": 1, "domain_overrides": {"prompt": PROMPT},
        "stages": {
            "data": {
                "kind": "pairs", "path": str(shop / "pairs.jsonl"), "teacher": "none", "split": SPLIT,
                "demonstrations": str(shop / "demonstrations.jsonl"), "annotations": str(shop / "people.db"),
                "probe_share": 0.2,
            },
            "sft": {
                "kind": "sft",
                "tiny": {"hidden": 48, "layers": 1, "heads": 2, "kv_heads": 1, "ffn": 64, "vocab_size": 400},
                "settings": {"epochs": 40, "batch_size": 16, "learning_rate": 1e-2},
            },
            "scalar_reward_model": {"kind": "scalar_reward_model", "sampling": SAMPLING},
            "gsrm": {
                "kind": "gsrm", "scalar_reward_model": "scalar_reward_model", "sampling": SAMPLING, "settings": gsrm,
                "resamples": 100,
            },
            **stages,
        },
    }  # fmt: skip


def hybrid_stage(updates: int, **examination: Any) -> dict[str, Any]:
    """Reinforcement learning examined so; the weak GSRM of the toy shop is used all the same."""
    how = {"override_bar": True, **examination}
    return {"kind": "rl", "examination": how, "settings": {**UPDATES, "updates": updates, "checkpoint_every": 2}}


def run_toy(recipe: dict[str, Any], progress: Progress | None = None) -> Path:
    """Run it; returns the report."""
    with progress or Progress(Console(quiet=True)) as shown:
        return run_recipe(Recipe.model_validate(recipe), shown)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the shop's files."""
    folder = tmp_path_factory.mktemp("shop")
    write_shop(folder)
    return folder


@pytest.fixture(scope="session")
def toy_run(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose rollouts are examined by people and GSRM, GSRM alone, and the scalar reward model."""
    stages = {
        "hybrid": hybrid_stage(4, gsrm="gsrm") | {"watch": {"every": 2, "pairs": 5, "max_new_tokens": 40}},
        "gsrm_only": hybrid_stage(1, mode="gsrm_only", gsrm="gsrm"),
        "by_scalar": hybrid_stage(1, mode="scalar_reward_model", scalar_reward_model="scalar_reward_model"),
        "labels": {
            "kind": "label_sft", "max_new_tokens": 40,
            "settings": {"epochs": 4, "batch_size": 8, "learning_rate": 1e-3},
        },
        "turned": hybrid_stage(1, flip=1.0),
        "evaluate": {
            "kind": "evaluate", "models": ["sft", "hybrid", "gsrm_only", "by_scalar", "labels"], "max_new_tokens": 40,
            "resamples": 100, "robustness_pairs": 7, "decision": {"rule": "own_prior", "strength": 0.5},
        },
    }  # fmt: skip
    recipe = toy_recipe(shop, tmp_path_factory.mktemp("toy") / "run", stages) | {"track": "tensorboard"}
    return run_toy(recipe).parent


@pytest.fixture
def save_recipe(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Write a recipe file."""

    def save(recipe: dict[str, Any]) -> Path:
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(recipe, sort_keys=False), "utf-8")
        return path

    return save
