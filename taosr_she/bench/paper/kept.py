"""What was run elsewhere: a row of an earlier JSON stays as long as its cells are those that would be run today."""

from pathlib import Path
from typing import Any

from taosr_she.bench.paper.methods import METHODS
from taosr_she.bench.paper.recipes import EVALUATE, paper_recipe, variants
from taosr_she.bench.paper.settings import SETTINGS, data_file
from taosr_she.recipe.plan import plan

Prints = dict[tuple[str, int], str]  # (method, seed) -> fingerprint of its evaluation, and so of all that it reads


def planned_prints(base: Path, name: str) -> Prints | None:
    """Fingerprints of every cell of a setting as planned today; None where its data file is not on this machine."""
    setting = SETTINGS[name]
    file = data_file(setting)
    if file is not None and not file.is_file():
        return None
    prints: Prints = {}
    for seed in sorted({seed for seeds in setting.seeds.values() for seed in seeds}):
        keys = [key for key, method in METHODS.items() if seed in setting.seeds.get(method.group, ())]
        recipe = paper_recipe(name, seed, variants(name, keys), base / name / f"seed-{seed}")
        planned = {p.name: p.fingerprint for p in plan(recipe, recipe.load_domain())}
        prints |= {(key, seed): planned[EVALUATE + key] for key in keys}
    return prints


def merge_rows(here: dict[str, Any], earlier: dict[str, Any], prints: Prints | None) -> dict[str, Any]:
    """Row by row: the one found here, unless the earlier one holds more seeds and is not out of date."""
    rows = dict(here)
    for key, row in earlier.items():
        current = prints is None or all(
            prints.get((_measured_with(key), int(seed))) == made for seed, made in row["cells"].items()
        )
        if current and len(row["cells"]) > len(here.get(key, {}).get("cells", {})):
            rows[key] = row
    order = [*METHODS, *(key for key in rows if key not in METHODS)]
    return {key: rows[key] for key in order if key in rows}


def _measured_with(key: str) -> str:
    """The classic rows are measured beside the SFT start."""
    return key if key in METHODS else "sft"
