"""One recipe for each data set and fold: its data, the two stages of fine-tuning, then a stage and an evaluation for
each row."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from taosr_she.bench.real.rows import IN_ONE_PASS, ROWS, RealRow
from taosr_she.bench.real.settings import (
    CLASSIC_DECISION,
    DECISION,
    FOLDS,
    GSRM,
    MATCHING,
    MODEL,
    NARROW,
    PREFERENCES,
    RL,
    SEED,
    SETTINGS,
    SFT,
    STUDENT,
    TEMPERATURE,
    WARM_UP,
    RealSetting,
    curriculum,
)
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.recipe.config import Recipe
from taosr_she.recipe.stages.evaluate import LABEL_ROW

EVALUATE = "evaluate_"
"""Prefix of the stage that evaluates a row."""
RESAMPLES = 100  # the tables bootstrap over the queries of all folds themselves
DIVERSE, DIFFICULT = "diverse", "difficult"
"""Stages that select the pairs of the full system."""
DEMONSTRATIONS = "demonstrations"
"""Data stage of the demonstrations, where they are made in another way than the pairs that all rows read."""
LABELS, ZERO = "labels", "zero"
"""Stages of the models without reasoning; reasoning is learnt from the first."""
TEACHER = "srpo"
"""The row that the student is distilled from."""


def real_domain(name: str) -> Domain:
    """The domain of a data set."""
    return load_domain(SETTINGS[name].domain).with_overrides(NARROW)


def real_recipe(name: str, fold: int, rows: Iterable[str], base: Path, threads: int) -> Recipe:
    """The recipe that trains and evaluates these rows."""
    setting, rows = SETTINGS[name], list(rows)
    kinds = {ROWS[row].kind for row in rows}
    data = setting.data | {"fold": {"number": fold, "of": FOLDS}}
    alone = _label_alone(real_domain(name))
    stages: dict[str, Any] = {"data": data}
    if "zero" in kinds:
        told = load_domain(setting.domain).prompt.model_dump(mode="json")
        stages[ZERO] = {"kind": "model", "model": MODEL, "domain_overrides": {"prompt": told, "steps": alone}}
    if kinds - {"classic", "zero"}:
        bare = {key: value for key, value in data.items() if key != "typed"}
        stages["label_data"] = bare | {"teacher": "label", "matching": _made_up(setting, MATCHING)}
        stages[LABELS] = {
            "kind": "sft", "data": "label_data", "model": MODEL, "domain_overrides": {"steps": alone},
            "settings": WARM_UP,
        }  # fmt: skip
    if kinds - {"classic", "zero", "labels", "first"}:
        stages |= _steps(setting, data)
    if any(ROWS[row].gsrm for row in rows):
        stages["gsrm"] = GSRM | {"kind": "gsrm", "sampling": {"max_new_tokens": setting.max_new_tokens}}
    if any(ROWS[row].selected for row in rows):
        stages |= _selection(setting)
    for row in rows:
        if ROWS[row].kind == "student":
            stages[TEACHER] = _stage(setting, ROWS[TEACHER])
        if ROWS[row].kind in ("dpo", "rl", "first", "student"):
            stages[row] = _stage(setting, ROWS[row])
        classic, labels = ROWS[row].kind == "classic", ROWS[row].kind in IN_ONE_PASS
        stages[EVALUATE + row] = {
            "kind": "evaluate", "baselines": [row] if classic else [], "models": [] if classic or labels else [row],
            "label_mode": [row] if labels else [],
            "decision": {} if row == "majority" else CLASSIC_DECISION if classic else DECISION,
            "max_new_tokens": setting.max_new_tokens, "batch_rows": 64, "resamples": RESAMPLES,
        }  # fmt: skip
    return Recipe.model_validate(
        {
            "name": f"{name}-{fold}", "seed": SEED, "out": str(base / name / f"fold-{fold}"), "threads": threads,
            "device": "auto", "domain": setting.domain, "domain_overrides": NARROW, "stages": stages,
        }
    )  # fmt: skip


def measured(row: str) -> str:
    """The name of a row in its evaluation."""
    return row + LABEL_ROW if ROWS[row].kind in IN_ONE_PASS else row


def _label_alone(domain: Domain) -> list[dict[str, Any]]:
    return [domain.steps[domain.label_step].model_dump(mode="json")]


def _made_up(setting: RealSetting, matching: dict[str, Any]) -> dict[str, Any]:
    """Made-up queries, with people's queries of the data set among those that no product answers."""
    typed = setting.data.get("typed")
    return matching | {"queries": typed["queries"] if typed else None}


def _steps(setting: RealSetting, data: dict[str, Any]) -> dict[str, Any]:
    """The stage that learns the steps, with a data stage of its own if its demonstrations differ."""
    sft = {"kind": "sft", "start": LABELS, "settings": SFT} | setting.sft
    if not setting.demonstrations:
        return {"sft": sft}
    own = data | setting.demonstrations
    if "matching" in own:
        own["matching"] = _made_up(setting, own["matching"])
    return {DEMONSTRATIONS: own, "sft": sft | {"data": DEMONSTRATIONS}}


def _stage(setting: RealSetting, row: RealRow) -> dict[str, Any]:
    sampling = {"max_new_tokens": setting.max_new_tokens}
    if row.kind == "dpo":
        return {"kind": "dpo", "group_size": 2, "per_pair": 1, "sampling": sampling, "settings": PREFERENCES}
    if row.kind == "first":
        return {
            "kind": "sft", "start": LABELS, "domain_overrides": {"answer_first": True}, "reasoning_masked": 0.9,
            "settings": SFT,
        }  # fmt: skip
    if row.kind == "student":
        teaching = {"sampling": sampling | {"temperature": 0.0}}
        return {"kind": "distil", "teacher": TEACHER, "start": LABELS, "teaching": teaching, "settings": STUDENT}
    hot = sampling | {"temperature": row.temperature or TEMPERATURE}
    settings = RL | setting.rl | row.own | {"credit": row.credit, "sampling": hot}
    stage: dict[str, Any] = {"kind": "rl", "settings": settings}
    if row.gsrm:
        stage["examination"] = {"gsrm": "gsrm", "override_bar": True}  # a GSRM below the bar is a result here
    if row.selected:
        stage |= {"pairs": DIFFICULT, "curriculum": curriculum(stage["settings"]["updates"])}
    return stage


def _selection(setting: RealSetting) -> dict[str, Any]:
    """Diversity goes by texts and costs no tokens, so difficulty is measured on what it leaves."""
    sampling = {"max_new_tokens": setting.max_new_tokens}
    difficulty = {"rollouts": 2, "sampling": sampling, "pass_low": 0.0, "pass_high": 1.0}
    diversity = {"budget": 1 / 3}
    return {
        DIVERSE: {"kind": "select", "selection": {"difficulty": None, "diversity": diversity, "seed": SEED}},
        DIFFICULT: {
            "kind": "select", "pairs": DIVERSE,
            "selection": {"difficulty": difficulty, "diversity": None, "seed": SEED},
        },
    }  # fmt: skip
