"""One recipe of each setting and seed: its data, SFT start, reward models and selections, then a stage a method."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taosr_she.bench.paper.methods import METHODS, Method
from taosr_she.bench.paper.settings import CURRICULUM, RL, SETTINGS, WATCH_EVERY, Setting
from taosr_she.recipe.config import Recipe

EVALUATE = "evaluate_"
"""Prefix of the stage that measures a method."""
SHIPPED_TUNING = Path(__file__).with_name("tuning.json")
"""The settings of the comparison, kept with the code. `bench paper --tune` writes such a file among its runs."""
DEFAULTS: dict[str, dict[str, Any]] = {
    "label_sft": {"engine": "trl", "epochs": 1, "learning_rate": 1.0e-4},
    "rejection": {"engine": "trl", "epochs": 1, "learning_rate": 1.0e-4},
    "dpo": {"epochs": 1, "learning_rate": 1.0e-4},
    "rl": RL,
}
"""Settings before tuning. Fine-tuning uses TRL's engine, with which the kept cells were trained."""
RESAMPLES = 200  # the tables have their own bootstrap over seeds and queries


@dataclass(frozen=True)
class Variant:
    """A method with the settings it is run with."""

    method: Method
    settings: dict[str, Any]


def variants(setting_name: str, names: Iterable[str]) -> dict[str, Variant]:
    """The methods with what tuning has chosen for them."""
    chosen = tuned(SETTINGS[setting_name].tuned_on)
    return {name: Variant(METHODS[name], chosen.get(METHODS[name].tuned_as or name, {})) for name in names}


def tuned(setting_name: str) -> dict[str, dict[str, Any]]:
    """Method -> settings chosen on development seeds; empty for a setting that was not tuned."""
    chosen: dict[str, dict[str, Any]] = json.loads(SHIPPED_TUNING.read_text("utf-8"))["settings"].get(setting_name, {})
    return {method: row["chosen"] for method, row in chosen.items()}


def paper_recipe(
    setting_name: str, seed: int, chosen: dict[str, Variant], out: Path, split: str = "test"
) -> Recipe:  # fmt: skip
    """A stage and its evaluation for every variant, and the stages that they read."""
    setting = SETTINGS[setting_name]
    stages: dict[str, Any] = shared_stages(setting, seed)
    for name, variant in chosen.items():
        start, noise = variant.method.kind == "none", variant.method.group == "noise"
        if not start:
            stages[name] = method_stage(setting, variant.method, variant.settings)
        stages[EVALUATE + name] = {
            "kind": "evaluate", "models": ["sft" if start else name], "split": split,
            "max_new_tokens": setting.max_new_tokens, "batch_rows": 512, "resamples": RESAMPLES,
            "robustness_pairs": 0 if noise or split != "test" else setting.robustness_pairs,
            "baselines": ["majority", "tfidf"] if start else [],
        }  # fmt: skip
    recipe = Recipe.model_validate(
        {
            "name": f"{setting_name}-{seed}", "seed": seed, "out": str(out), "threads": 1, "device": "auto",
            "domain": setting.domain, "domain_overrides": setting.domain_overrides, "stages": stages,
        }
    )  # fmt: skip
    return recipe.model_copy(update={"stages": _needed(recipe, [EVALUATE + name for name in chosen])})


def shared_stages(setting: Setting, seed: int) -> dict[str, Any]:
    """What several methods read. Those that no chosen method needs are left out afterwards."""
    sampling = {"max_new_tokens": setting.max_new_tokens}
    difficulty = {"rollouts": 2, "sampling": sampling}
    budget = {"budget": 1 / 3}
    stages: dict[str, Any] = {"data": setting.data}
    if setting.data["kind"] == "market":
        exact = setting.data["market"] | {"annotation_coverage": 1.0, "annotation_error": 0.0}
        stages["truth"] = {"kind": "market", "market": exact}
    stages["sft"] = {"kind": "sft", "settings": {"engine": "trl", **setting.sft}, "tiny": setting.tiny}
    # Four passes: after one the tiny reward model still tosses coins (training accuracy 0.60; 0.84 after four).
    stages["scalar_reward_model"] = {
        "kind": "scalar_reward_model", "sampling": sampling, "settings": {"epochs": 4, "learning_rate": 1.0e-3},
    }  # fmt: skip
    if setting.held_out_people:
        stages["gsrm"] = {
            "kind": "gsrm", "sampling": sampling, "resamples": RESAMPLES,
            "settings": {"engine": "trl", "epochs": 4, "batch_size": 16, "learning_rate": 3.0e-4},
        }  # fmt: skip
    # Diversity goes by texts and costs no tokens, so difficulty is measured on what it leaves. Two rollouts say little
    # about one pair: they place it in the curriculum, whose bands leave pairs out stage by stage.
    measured = difficulty | {"pass_low": 0.0, "pass_high": 1.0}
    for name, among, chosen in (
        ("by_diversity", None, {"difficulty": None, "diversity": budget}),
        ("by_both", "by_diversity", {"difficulty": measured, "diversity": None}),
        ("by_difficulty", None, {"difficulty": difficulty, "diversity": None}),
    ):
        stages[name] = {"kind": "select", "pairs": among, "selection": {**chosen, "seed": seed}}
    return stages


def method_stage(setting: Setting, method: Method, settings: dict[str, Any]) -> dict[str, Any]:
    """The stage that trains by `method`."""
    sampling = {"max_new_tokens": setting.max_new_tokens}
    base = DEFAULTS[method.kind] | settings
    if method.kind == "label_sft":
        return {"kind": "label_sft", "max_new_tokens": setting.max_new_tokens, "settings": base}
    if method.kind in ("rejection", "dpo"):
        # Market: 3 x 2,400 pairs, against 8 x 8 rollouts in 100 updates: 12% more. ESCI: 2 x about 1,340 pairs, against
        # 40 updates: 5% more.
        return {"kind": method.kind, "group_size": setting.drawn, "sampling": sampling, "settings": base}
    loss = {"beta": base.pop("beta", 0.0)}
    noise = method.group == "noise"  # its table is a grid of final numbers: no curves, no perturbed texts
    stage: dict[str, Any] = {
        "kind": "rl", "data": "truth" if noise else "data",
        "watch": _watch(setting, RL["updates"] if noise else WATCH_EVERY),
        "settings": {
            "sampling": sampling, "credit": method.credit, "loss": loss, **base, **setting.rl,
        },
    }  # fmt: skip
    if method.updates:
        stage["settings"]["updates"] = method.updates
    if method.select:
        stage["pairs"] = method.select
    if method.curriculum:
        bands = method.select != "by_diversity"  # nobody has measured pass rates there
        stage["curriculum"] = [
            {k: v for k, v in leg.items() if bands or not k.startswith("pass_")} | {"updates": updates}
            for leg, updates in zip(CURRICULUM, setting.curriculum, strict=True)
        ]
    if method.examination == "scalar_reward_model":
        stage["examination"] = {"mode": "scalar_reward_model", "scalar_reward_model": "scalar_reward_model"}
    elif method.examination in ("hybrid", "gsrm_only") and setting.held_out_people:
        mode = "human_first" if method.examination == "hybrid" else "gsrm_only"
        stage["examination"] = {"mode": mode, "gsrm": "gsrm"}
    elif method.flip:
        stage["examination"] = {"flip": method.flip}
    return stage


def _watch(setting: Setting, every: int) -> dict[str, Any]:
    return {"every": every, "pairs": 300, "max_new_tokens": setting.max_new_tokens}


def _needed(recipe: Recipe, wanted: list[str]) -> dict[str, Any]:
    """The stages that `wanted` read, directly or not, in the order of the recipe."""
    needed, open_ = set(wanted), list(wanted)
    while open_:
        for _, read in recipe.stages[open_.pop()].reads():
            if read not in needed:
                needed.add(read)
                open_.append(read)
    return {name: stage for name, stage in recipe.stages.items() if name in needed}
