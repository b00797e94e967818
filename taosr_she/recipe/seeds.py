"""Repeats a recipe over seeds: the intervals of the table include the variation between seeds."""

import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from taosr_she.base.errors import UserError
from taosr_she.base.files import write_json
from taosr_she.base.secret import masked_values
from taosr_she.evaluate.intervals import paired_seed_interval, seed_interval
from taosr_she.evaluate.metrics import PLAIN, PRIMARY
from taosr_she.evaluate.slices import SHOWN
from taosr_she.recipe.config import MAX_SEED, load_recipe
from taosr_she.recipe.progress import Progress
from taosr_she.recipe.run import describe_plan, read_results, run_recipe
from taosr_she.recipe.table import ModelTable, metric_name, metric_text, table_metrics


def run_seeds(console: Console, name: str, overrides: list[str], seeds: str, dry_run: bool, redo: list[str]) -> None:
    """Run the recipe once per seed in `<run folder>/seed-<n>`, then print and write `seeds.json`."""
    chosen = parse_seeds(seeds)
    base = load_recipe(name, overrides).folder
    for seed in chosen:
        if not 0 <= seed <= MAX_SEED:
            raise UserError(f"--seeds {seeds}: {seed} is not from 0 to {MAX_SEED}")
    recipes = [load_recipe(name, [*overrides, f"seed={s}", f"out={base / f'seed-{s}'}"]) for s in chosen]
    if dry_run:
        for recipe in recipes:
            console.print(describe_plan(recipe, redo), highlight=False, soft_wrap=True)
        return
    results = []
    for recipe in recipes:
        with Progress(console) as progress:
            progress.say(f"seed {recipe.seed} -> {recipe.folder}")
            run_recipe(recipe, progress, redo)
        found = read_results(recipe.folder)
        if found is None:
            raise UserError(f"recipe {name}: --seeds needs an evaluate stage")
        results.append(found)
    summary = summarise(results)
    write_json(base / "seeds.json", {"recipe": name, "overrides": masked_values(overrides), "seeds": chosen, **summary})
    console.print(seeds_table(summary, chosen))
    if summary["slices"]:
        console.print(slices_table(summary, chosen))
    for row in summary["paired"]:
        console.print(_sentence(row), highlight=False)
    console.print(f"summary: {base / 'seeds.json'}", highlight=False, soft_wrap=True)


def parse_seeds(text: str) -> list[int]:
    """`"1,2,3"` -> [1, 2, 3]; at least two, all different."""
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(f"--seeds {text}: expected whole numbers with commas, e.g. 1,2,3") from error
    if len(set(seeds)) < 2 or len(set(seeds)) != len(seeds):
        raise UserError(f"--seeds {text}: expected at least two different seeds")
    return seeds


def summarise(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and 95% t-interval over seeds of every metric and model, and paired differences of the compared models; the
    same in every slice that all runs have."""
    step_keys = results[0]["step_keys"]
    compared = list(dict.fromkeys((row["a"], row["b"]) for row in results[0]["paired"]))
    measured = [*table_metrics(step_keys), "tokens_per_second", "pairs_per_second"]
    runs = [{name: model["metrics"] for name, model in r["models"].items()} for r in results]
    whole = _over_seeds(runs, measured, table_metrics(step_keys), compared)
    slices = {}
    for tag in _slices(results):
        runs = [{name: model["slices"][tag] for name, model in r["models"].items()} for r in results]
        slices[tag] = _over_seeds(runs, SHOWN, SHOWN, compared)
    return {"step_keys": step_keys, **whole, "slices": slices}


def _over_seeds(
    runs: Sequence[dict[str, dict[str, Any]]], measured: Sequence[str], paired: Sequence[str],
    compared: Sequence[tuple[str, str]],
) -> dict[str, Any]:  # fmt: skip
    """`runs` are, for each seed, model -> metric -> value; differences are of the metrics `paired`."""
    models = {name: _means(measured, [run[name] for run in runs]) for name in runs[0]}
    return {"models": models, "paired": _paired(paired, models, compared)}


def _slices(results: list[dict[str, Any]]) -> list[str]:
    """Slices that every model of every run has."""
    found = [set(model.get("slices") or {}) for r in results for model in r["models"].values()]
    return sorted(set.intersection(*found)) if found else []


def _means(metrics: Sequence[str], runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Metric -> mean, t-interval and values, of those that all runs have."""
    found: dict[str, Any] = {}
    for metric in metrics:
        values = [_number(run.get(metric)) for run in runs]
        if not any(math.isnan(v) for v in values):
            mean, low, high = seed_interval(values)
            found[metric] = {"mean": mean, "low": low, "high": high, "values": values}
    return found


def _paired(
    metrics: Sequence[str], models: dict[str, dict[str, Any]], compared: Sequence[tuple[str, str]]
) -> list[dict[str, Any]]:
    rows = []
    for a, b in compared:
        for metric in metrics:
            if metric in models[a] and metric in models[b]:
                mean, low, high = paired_seed_interval(models[a][metric]["values"], models[b][metric]["values"])
                rows.append({"a": a, "b": b, "metric": metric, "difference": mean, "low": low, "high": high})
    return rows


def seeds_table(summary: dict[str, Any], seeds: list[int]) -> ModelTable:
    """Models as columns, means with t-intervals over seeds."""
    rows = []
    for metric in table_metrics(summary["step_keys"]):
        cells = [m.get(metric) for m in summary["models"].values()]
        if any(cells):
            rows.append((metric_name(metric), [_cell(metric, c) for c in cells]))
    speeds = [m.get("pairs_per_second") for m in summary["models"].values()]
    if any(speeds):
        rows.append(("pairs/s", ["–" if s is None else f"{s['mean']:,.1f}" for s in speeds]))
    title = f"mean over seeds {', '.join(map(str, seeds))} with 95% t-interval"
    return ModelTable(title, list(summary["models"]), rows)


def slices_table(summary: dict[str, Any], seeds: list[int]) -> ModelTable:
    """Slices as rows, models as columns: labels, and where steps were examined whole chains as well."""
    rows = []
    for metric in (PRIMARY, "steps_all_right"):
        for tag, found in summary["slices"].items():
            cells = [m.get(metric) for m in found["models"].values()]
            if any(cells):
                rows.append((f"{metric_name(metric)}, {tag}", [_cell(metric, c) for c in cells]))
    title = f"by slice, mean over seeds {', '.join(map(str, seeds))} with 95% t-interval"
    return ModelTable(title, list(summary["models"]), rows)


def _cell(metric: str, c: dict[str, Any] | None) -> str:
    if not c:
        return "–"
    mean, low, high = (metric_text(metric, c[key]) for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _sentence(row: dict[str, Any]) -> str:
    difference, low, high = (metric_text(row["metric"], row[key], "+") for key in ("difference", "low", "high"))
    unit = "" if row["metric"] in PLAIN else " points"
    return f"{row['b']} - {row['a']}, {metric_name(row['metric'])}: {difference}{unit} [{low}, {high}]"
