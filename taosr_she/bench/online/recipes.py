"""One recipe for each seed: data, SFT start and first GSRM, then for each rule and budget a training, a GSRM trained
further on its answers, and an evaluation."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from taosr_she.bench.online.settings import (
    BUDGETS,
    DOMAIN,
    GSRM,
    MARKET,
    ONLINE,
    PLAIN,
    RESAMPLES,
    RL,
    RULES,
    SAMPLING,
    SFT,
    VOTES,
)
from taosr_she.recipe.config import Recipe


def cell_names() -> list[str]:
    """Every cell: `plain`, then `random-120` and so on."""
    return [PLAIN, *(f"{rule}-{budget}" for budget in BUDGETS for rule in RULES)]


def online_recipe(seed: int, cells: Iterable[str], out: Path) -> Recipe:
    """The stages of these cells and what they read."""
    gsrm = {"kind": "gsrm", "sampling": SAMPLING, "gsrm": VOTES, "settings": GSRM, "resamples": RESAMPLES}
    stages: dict[str, Any] = {
        "data": {"kind": "market", "market": MARKET},
        "sft": {"kind": "sft", "settings": SFT},
        "gsrm": gsrm,
    }
    for cell in cells:
        examination: dict[str, Any] = {"gsrm": "gsrm", "override_bar": True}
        if cell != PLAIN:
            rule, _, budget = cell.rpartition("-")
            examination["online"] = ONLINE | {"policies": RULES[rule], "budget": int(budget)}
        stages[f"ask_{cell}"] = {"kind": "rl", "examination": examination, "settings": RL}
        if cell != PLAIN:
            stages[f"gsrm_{cell}"] = gsrm | {"continues": "gsrm", "answers": [f"ask_{cell}"]}
        stages[f"evaluate_{cell}"] = {
            "kind": "evaluate", "models": [f"ask_{cell}"], "max_new_tokens": SAMPLING["max_new_tokens"],
            "batch_rows": 512, "resamples": RESAMPLES,
        }  # fmt: skip
    return Recipe.model_validate(
        {
            "name": f"online-{seed}", "seed": seed, "out": str(out / f"seed-{seed}"), "threads": 1, "device": "cpu",
            "domain_overrides": DOMAIN, "stages": stages,
        }
    )  # fmt: skip


def gsrm_of(cell: str) -> str:
    """The stage with the GSRM that a cell ends with."""
    return "gsrm" if cell == PLAIN else f"gsrm_{cell}"
