"""One recipe for each seed: data, SFT start and first GSRM, then for each rule and budget a training, a GSRM trained
further on its answers, and an evaluation."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from taosr_she.bench.online.settings import (
    BUDGETS,
    DOMAIN,
    EXACT,
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
    """Every cell: `plain`, then `random-120` and so on, `exact` at last."""
    return [PLAIN, *(f"{rule}-{budget}" for budget in BUDGETS for rule in RULES), EXACT]


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
        training: dict[str, Any] = {"kind": "rl", "examination": examination, "settings": RL}
        if cell == EXACT:
            exact = MARKET | {"annotation_coverage": 1.0, "annotation_error": 0.0}
            stages["truth"] = {"kind": "market", "market": exact}
            training = {"kind": "rl", "data": "truth", "settings": RL}
        elif cell != PLAIN:
            rule, _, budget = cell.rpartition("-")
            examination["online"] = ONLINE | {"policies": RULES[rule], "budget": int(budget)}
        stages[f"ask_{cell}"] = training
        if asks(cell):
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


def asks(cell: str) -> bool:
    """Whether people are asked."""
    return cell not in (PLAIN, EXACT)


def gsrm_of(cell: str) -> str:
    """The stage with the GSRM that a cell ends with."""
    return f"gsrm_{cell}" if asks(cell) else "gsrm"
