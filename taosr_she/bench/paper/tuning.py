"""The same tuning budget for every method: four runs each on a development seed, scored on its development split.

Two learning rates come first, then a third beyond the better one. The fourth run uses the best of the three and changes
what ties the method to its start: the KL weight, DPO's beta, or else the number of epochs. The file lists all
settings tried beside the choice.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.base.files import write_json
from taosr_she.bench.cells import cells_of, run_cells
from taosr_she.bench.paper.methods import METHODS, group
from taosr_she.bench.paper.recipes import EVALUATE, SHIPPED_TUNING, Variant, paper_recipe
from taosr_she.bench.paper.settings import DEVELOPMENT_SEED

RATES = {"label_sft": (3e-5, 1e-4), "rejection": (1e-4, 3e-4), "dpo": (3e-5, 1e-4), "rl": (1e-4, 2e-4)}
"""Learning rates of the first two runs, by kind of stage. The third is half the lower or twice the higher one."""
TIES: dict[str, dict[str, Any]] = {
    "label_sft": {"epochs": 2}, "rejection": {"epochs": 2}, "dpo": {"beta": 0.5}, "rl": {"beta": 0.02},
}  # fmt: skip
"""Settings that the fourth run adds."""
STRONG = {"scalar": {"beta": 0.1}}
"""Used instead for a method that needs a stronger tie: a policy can exploit a learned score without limit."""


def tune(setting: str, base: Path, workers: int, say: Callable[[str], None]) -> None:
    """Run what is missing and write the choices of this setting to `base/tuning.json`.

    The comparison itself reads SHIPPED_TUNING, which no command changes, so its settings change only with the code.
    """
    folder = base / setting / f"tuning-{DEVELOPMENT_SEED}"
    names = [n for n in group("main") if METHODS[n].kind != "none"]
    first = {n: [{"learning_rate": rate} for rate in RATES[METHODS[n].kind]] for n in names}
    scores = _scores(setting, folder, first, workers, say)
    beyond = _scores(setting, folder, {n: [{"learning_rate": next_rate(scores[n])}] for n in names}, workers, say)
    tried = {n: scores[n] + beyond[n] for n in names}
    tied = {n: [_best(tried[n])["settings"] | STRONG.get(n, TIES[METHODS[n].kind])] for n in names}
    last = _scores(setting, folder, tied, workers, say)
    tried = {n: tried[n] + last[n] for n in names}
    file = base / "tuning.json"
    known = json.loads(file.read_text("utf-8")) if file.is_file() else {"settings": {}}
    known |= {"command": "taosr-she bench paper --tune", "seed": DEVELOPMENT_SEED, "split": "development"}
    known["settings"][setting] = {n: {"chosen": _best(tried[n])["settings"], "tried": tried[n]} for n in names}
    write_json(file, known)
    say(f"wrote {file}; the comparison still uses the shipped settings: {SHIPPED_TUNING}")


def next_rate(tried: list[dict[str, Any]]) -> float:
    """A learning rate beyond the best one tried: half of it if it is the lowest, otherwise twice of it."""
    rates = [float(t["settings"]["learning_rate"]) for t in tried]
    best = float(_best(tried)["settings"]["learning_rate"])
    return best / 2 if best == min(rates) else best * 2


def _best(tried: list[dict[str, Any]]) -> dict[str, Any]:
    return max(tried, key=lambda t: float(t["macro_f1"]))


def _scores(
    setting: str, folder: Path, grid: dict[str, list[dict[str, Any]]], workers: int, say: Callable[[str], None]
) -> dict[str, list[dict[str, Any]]]:
    """Method -> tried settings with `macro_f1` on the development split."""
    runs = {_name(n, s): Variant(METHODS[n], s) for n, every in grid.items() for s in every}
    recipe = paper_recipe(setting, DEVELOPMENT_SEED, runs, folder, split="development")
    failures = run_cells(cells_of([recipe]), workers, say)
    if failures:
        raise UserError(f"tuning needs every run: {failures[0].cell}: {failures[0].line}")
    return {n: [{"settings": s, **_score(folder, _name(n, s))} for s in every] for n, every in grid.items()}


def _score(folder: Path, name: str) -> dict[str, float]:
    results = json.loads((folder / "stages" / f"{EVALUATE}{name}" / "results.json").read_text("utf-8"))
    metrics = results["models"][name]["metrics"]
    return {k: metrics[k] for k in ("macro_f1", "steps_all_right", "right_label_wrong_reasoning")}


def _name(method: str, settings: dict[str, Any]) -> str:
    return "_".join([method, *(f"{key}_{value:g}" for key, value in sorted(settings.items()))]).replace(".", "p")
