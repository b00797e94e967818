"""What is kept of a cell, a few numbers, and how the rules compare over seeds."""

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from taosr_she.base.files import read_object
from taosr_she.bench.archive import finished
from taosr_she.bench.online.recipes import asks, cell_names, gsrm_of, online_recipe
from taosr_she.bench.online.settings import BUDGETS, EXACT, METRICS, PLAIN, RULES
from taosr_she.evaluate.intervals import seed_interval
from taosr_she.recipe.plan import plan

Cells = dict[str, dict[str, dict[str, Any]]]
"""Cell -> seed -> its numbers."""
FILE = "online.json"


def gather(out: Path, kept: Cells, seeds: Iterable[int]) -> Cells:
    """The cells in `out`, and those of `kept` that are not out of date."""
    found: Cells = {}
    for seed in seeds:
        recipe = online_recipe(seed, cell_names(), out)
        prints = {p.name: p.fingerprint for p in plan(recipe, recipe.load_domain(), to_run=False)}
        stages = recipe.folder / "stages"
        for cell in cell_names():
            wanted = [f"evaluate_{cell}", gsrm_of(cell)]
            fingerprint = " ".join(prints[name] for name in wanted)
            old = kept.get(cell, {}).get(str(seed), {})
            if all(finished(stages / name) == prints[name] for name in wanted):
                old = _numbers(stages, cell) | {"fingerprint": fingerprint}
            if old.get("fingerprint") == fingerprint:
                found.setdefault(cell, {})[str(seed)] = old
    return found


def read_kept(folder: Path) -> Cells:
    """The cells in the documentation's folder."""
    cells: Cells = read_object(folder / FILE).get("cells", {})
    return cells


def _numbers(stages: Path, cell: str) -> dict[str, Any]:
    def read(*path: str) -> Any:
        return json.loads(stages.joinpath(*path).read_text("utf-8"))

    metrics = read(f"evaluate_{cell}", "results.json")["models"][f"ask_{cell}"]["metrics"]
    examined = read(gsrm_of(cell), "examiners.json")["examiners"]["gsrm"]["metrics"]
    training = read(f"ask_{cell}", "stage.json")
    found = {"steps_all_right": metrics["steps_all_right"], "macro_f1": metrics["macro_f1"]}
    # Without a GSRM in the training, there is none to measure.
    found |= {"first_error_f1": None if cell == EXACT else examined["first_error_f1"], "seconds": training["seconds"]}
    return found | training["summary"].get("online", {"answered": 0})


def values_of(cells: Cells, cell: str, metric: str, seeds: Sequence[str]) -> np.ndarray:
    """(S,) the metric of a cell on each seed; NaN where there is none."""
    return np.array([cells[cell][seed][metric] for seed in seeds], dtype=float)


def seeds_with(cells: Cells, *wanted: str) -> list[str]:
    """Seeds on which all these cells are finished."""
    return sorted(set.intersection(*(set(cells.get(cell, {})) for cell in wanted)))


def mean_of(values: np.ndarray) -> dict[str, float]:
    """Mean over seeds with its 95% interval (Student's t), and the two-sided p of a true mean of 0."""
    from scipy.stats import ttest_1samp

    mean, low, high = seed_interval(values.tolist())
    p = float(ttest_1samp(values, 0.0).pvalue) if len(values) > 1 else float("nan")
    return {"mean": mean, "low": low, "high": high, "p": p}


def table(cells: Cells) -> list[dict[str, Any]]:
    """A row for each cell that is finished on some seed: metrics and answers."""
    rows = []
    for cell in cell_names():
        seeds = seeds_with(cells, cell)
        if seeds:
            row: dict[str, Any] = {"cell": cell, "seeds": len(seeds)}
            row |= {metric: mean_of(values_of(cells, cell, metric, seeds)) for metric in METRICS}
            row["answered"] = float(values_of(cells, cell, "answered", seeds).mean())
            if asks(cell):
                row["changed"] = float(values_of(cells, cell, "changed", seeds).mean())
                row["waited"] = float(values_of(cells, cell, "waited", seeds).mean())
            rows.append(row)
    return rows


def differences(cells: Cells) -> list[dict[str, Any]]:
    """Paired over seeds: each rule against asking at random, with the same budget and with half of it; asking at random
    and right verdicts everywhere against asking nobody. The p-values are not corrected for the number of rows."""
    compared = [(f"random-{budget}", PLAIN) for budget in BUDGETS] + [(EXACT, PLAIN)]
    for budget in BUDGETS:
        compared += [(f"{rule}-{budget}", f"random-{budget}") for rule in RULES if rule != "random"]
    for half, budget in pairwise(BUDGETS):
        compared += [(f"{rule}-{half}", f"random-{budget}") for rule in RULES]
    rows = []
    for cell, other in compared:
        seeds = seeds_with(cells, cell, other)
        if seeds:
            row: dict[str, Any] = {"cell": cell, "other": other, "seeds": len(seeds)}
            for metric in METRICS:
                row[metric] = mean_of(values_of(cells, cell, metric, seeds) - values_of(cells, other, metric, seeds))
            rows.append(row)
    return rows
