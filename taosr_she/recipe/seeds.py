"""Repeats a recipe over seeds: the intervals of the table include the variation between seeds."""

import math
from typing import Any

from rich.console import Console

from taosr_she.base.errors import UserError
from taosr_she.base.files import write_json
from taosr_she.base.secret import masked_values
from taosr_she.evaluate.intervals import paired_seed_interval, seed_interval
from taosr_she.evaluate.metrics import PLAIN
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
    """Mean and 95% t-interval over seeds of every metric and model, and paired differences of the compared models."""
    metrics = table_metrics(results[0]["step_keys"])
    models: dict[str, dict[str, Any]] = {}
    for model in results[0]["models"]:
        models[model] = {}
        for metric in [*metrics, "tokens_per_second", "pairs_per_second"]:
            values = [_value(r, model, metric) for r in results]
            if not any(math.isnan(v) for v in values):
                mean, low, high = seed_interval(values)
                models[model][metric] = {"mean": mean, "low": low, "high": high, "values": values}
    paired = []
    for a, b in dict.fromkeys((row["a"], row["b"]) for row in results[0]["paired"]):
        for metric in metrics:
            if metric in models[a] and metric in models[b]:
                mean, low, high = paired_seed_interval(models[a][metric]["values"], models[b][metric]["values"])
                paired.append({"a": a, "b": b, "metric": metric, "difference": mean, "low": low, "high": high})
    return {"step_keys": results[0]["step_keys"], "models": models, "paired": paired}


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


def _cell(metric: str, c: dict[str, Any] | None) -> str:
    if not c:
        return "–"
    mean, low, high = (metric_text(metric, c[key]) for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def _value(results: dict[str, Any], model: str, metric: str) -> float:
    value = results["models"][model]["metrics"].get(metric)
    return math.nan if value is None else float(value)


def _sentence(row: dict[str, Any]) -> str:
    difference, low, high = (metric_text(row["metric"], row[key], "+") for key in ("difference", "low", "high"))
    unit = "" if row["metric"] in PLAIN else " points"
    return f"{row['b']} - {row['a']}, {metric_name(row['metric'])}: {difference}{unit} [{low}, {high}]"
