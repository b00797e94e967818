"""The cells that the tables are made from: those in the run folder, and those kept from earlier runs on any machine.

A kept cell is used as long as its fingerprint equals that of the cell that would be run today.
"""

from pathlib import Path
from typing import Any

from taosr_she.bench.archive import finished, read_archive, write_archive
from taosr_she.bench.paper.methods import CLASSIC, METHODS
from taosr_she.bench.paper.recipes import EVALUATE, paper_recipe, variants
from taosr_she.bench.paper.record import record_cell
from taosr_she.bench.paper.settings import SETTINGS, data_file
from taosr_she.domain.domain import load_domain
from taosr_she.recipe.plan import plan

Prints = dict[tuple[str, int], str]  # (method, seed) -> fingerprint of its evaluation, which covers all its inputs
Cells = dict[str, dict[str, Any]]  # setting -> seed -> {"pairs": ..., "methods": {method: record}}
FILE = "cells.json.gz"


def planned_prints(base: Path, name: str) -> Prints | None:
    """Fingerprints of every cell of a setting as planned today; None if its data file is not on this machine."""
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


def gather(base: Path, earlier: Cells) -> Cells:
    """The cells in `base`, and those of `earlier` that are not out of date."""
    cells: Cells = {}
    for name, setting in SETTINGS.items():
        prints = planned_prints(base, name)
        if prints is None:  # without the data, nothing can be compared
            cells[name] = earlier.get(name, {})
            continue
        domain = load_domain(setting.domain).with_overrides(setting.domain_overrides)
        cells[name] = {}
        for (key, seed), fingerprint in prints.items():
            stages = base / name / f"seed-{seed}" / "stages"
            old = earlier.get(name, {}).get(str(seed), {"methods": {}})
            # The classic models are measured beside the SFT start.
            for method in (key, *(CLASSIC if METHODS[key].kind == "none" else ())):
                if finished(stages / f"{EVALUATE}{key}") == fingerprint:
                    pairs, record = record_cell(stages, key, method, domain, setting.slices)
                elif old["methods"].get(method, {}).get("fingerprint") == fingerprint:
                    pairs, record = old["pairs"], old["methods"][method]
                else:
                    continue
                of_seed = cells[name].setdefault(str(seed), {"pairs": pairs, "methods": {}})
                of_seed["methods"][method] = record | {"fingerprint": fingerprint}
    return cells


def read_cells(folder: Path) -> Cells:
    """The kept cells of a folder. Raises UserError if the file is damaged."""
    return read_archive(folder / FILE)


def write_cells(folder: Path, cells: Cells) -> None:
    """Write the cells to the folder's file."""
    write_archive(folder / FILE, cells)
