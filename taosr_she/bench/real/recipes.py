"""One recipe for each data set and fold: its data, the SFT start, then a stage and an evaluation for each row.

The row `labels` has a domain of one step, so it has a recipe and a run folder of its own.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from taosr_she.bench.real.rows import ROWS, RealRow
from taosr_she.bench.real.settings import FOLDS, MODEL, NARROW, PREFERENCES, RL, SEED, SETTINGS, SFT, RealSetting
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.recipe.config import Recipe

EVALUATE = "evaluate_"
"""Prefix of the stage that evaluates a row."""
RESAMPLES = 100  # the tables bootstrap over the queries of all folds themselves
DECISION = {"rule": "auto", "metric": "macro_f1"}
"""Each row chooses its own decision rule on the development pairs of the fold."""


def real_domain(name: str, row: str) -> Domain:
    """The domain of a row."""
    domain = load_domain(SETTINGS[name].domain)
    return domain.with_overrides(_overrides(domain, ROWS[row].kind == "labels"))


def real_recipes(name: str, fold: int, rows: Iterable[str], base: Path, threads: int) -> list[Recipe]:
    """The recipes that train and evaluate these rows."""
    alone = [row for row in rows if ROWS[row].kind == "labels"]
    others = [row for row in rows if ROWS[row].kind != "labels"]
    folder = base / name / f"fold-{fold}"
    found = []
    if others:
        found.append(_recipe(name, fold, others, folder, threads))
    if alone:
        found.append(_recipe(name, fold, alone, folder.with_name(f"fold-{fold}-labels"), threads))
    return found


def _recipe(name: str, fold: int, rows: list[str], out: Path, threads: int) -> Recipe:
    setting, alone = SETTINGS[name], ROWS[rows[0]].kind == "labels"
    data = setting.data | {"fold": {"number": fold, "of": FOLDS}}
    if alone:
        data = {key: value for key, value in data.items() if key != "typed"} | {"teacher": "label"}
    stages: dict[str, Any] = {"data": data}
    if any(ROWS[row].kind != "classic" for row in rows):
        stages["sft"] = {"kind": "sft", "model": MODEL, "settings": SFT}
    for row in rows:
        if ROWS[row].kind in ("dpo", "rl"):
            stages[row] = _stage(setting, ROWS[row])
        classic = ROWS[row].kind == "classic"
        stages[EVALUATE + row] = {
            "kind": "evaluate", "models": [] if classic else [checkpoint(row)], "baselines": [row] if classic else [],
            "decision": {} if row == "majority" else DECISION,  # one label whatever the pair: nothing to choose
            "max_new_tokens": setting.max_new_tokens, "batch_rows": 64, "resamples": RESAMPLES,
        }  # fmt: skip
    return Recipe.model_validate(
        {
            "name": f"{name}-{fold}", "seed": SEED, "out": str(out), "threads": threads, "device": "auto",
            "domain": setting.domain, "domain_overrides": _overrides(load_domain(setting.domain), alone),
            "stages": stages,
        }
    )  # fmt: skip


def checkpoint(row: str) -> str:
    """The stage that trains a row's model."""
    return "sft" if ROWS[row].kind in ("labels", "sft") else row


def _overrides(domain: Domain, label_alone: bool) -> dict[str, Any]:
    if not label_alone:
        return NARROW
    return NARROW | {"steps": [domain.steps[domain.label_step].model_dump(mode="json")]}


def _stage(setting: RealSetting, row: RealRow) -> dict[str, Any]:
    sampling = {"max_new_tokens": setting.max_new_tokens}
    if row.kind == "dpo":
        return {"kind": "dpo", "group_size": 2, "per_pair": 1, "sampling": sampling, "settings": PREFERENCES}
    settings = RL | setting.rl | {"credit": row.credit, "sampling": sampling}
    return {"kind": "rl", "settings": settings}
