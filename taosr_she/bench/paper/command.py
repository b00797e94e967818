"""`taosr-she bench paper`: tune or run the cells, collect, and write the documentation's page."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from taosr_she.base.errors import UserError
from taosr_she.base.files import write_json
from taosr_she.bench.cells import Cell, cells_of, run_cells
from taosr_she.bench.paper.kept import Cells, gather, read_cells, write_cells
from taosr_she.bench.paper.methods import Group, group
from taosr_she.bench.paper.recipes import EVALUATE, paper_recipe, variants
from taosr_she.bench.paper.results import collect
from taosr_she.bench.paper.settings import SETTINGS, data_file
from taosr_she.bench.paper.tuning import tune

QUICK_SEEDS = 2
ORDER: tuple[tuple[str, Group], ...] = (
    ("long_tail", "main"), ("standard", "main"), ("esci", "main"), ("long_tail", "ablation"), ("long_tail", "noise"),
)  # fmt: skip
"""Which cells run first: those that the page needs most."""


def paper(
    console: Console, out: Path, docs: Path, quick: bool, tuning: bool, render: bool, only: list[str], workers: int
) -> None:
    """Run what is missing under `out`, then write `docs/results/` and the generated part of `docs/results.md`."""
    from taosr_she.bench.paper.page import write_page

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    unknown = sorted(set(only) - set(SETTINGS))
    if unknown:
        raise UserError(f"--only {unknown[0]}: expected one of {', '.join(SETTINGS)}")
    if tuning:
        for setting in only or dict.fromkeys(s.tuned_on for s in SETTINGS.values()):
            tune(setting, out, workers, say)
        return
    absent = {n: file for n, s in SETTINGS.items() if (file := data_file(s)) is not None and not file.is_file()}
    for name, file in absent.items():
        say(f"{name} is not run: {file} does not exist")
    wanted = [name for name in only or SETTINGS if name not in absent]
    folder = docs / "results"
    folder.mkdir(parents=True, exist_ok=True)
    earlier = {} if quick else read_cells(folder)
    failures = [] if render else run_cells(paper_cells(out, quick, wanted, gather(out, earlier)), workers, say)
    for failure in failures:
        say(f"failed: {failure.cell}: {failure.line}")
    command = "taosr-she bench paper" + (" --quick" if quick else "")
    file = folder / ("quick.json" if quick else "paper.json")
    cells = gather(out, earlier)
    if not quick:
        write_cells(folder, cells)
    write_json(file, collect(cells, command, QUICK_SEEDS if quick else None))
    results = json.loads(file.read_text("utf-8"))  # as a reader of the file sees it: NaN is null there
    page = write_page(results, docs / ("results-quick.md" if quick else "results.md"), folder)
    say(f"{page} ({len(results['missing'])} cells missing)")
    if failures:
        raise UserError(f"{len(failures)} cells failed; the others are done and kept. Fix the cause and run again")


def paper_cells(out: Path, quick: bool, settings: Sequence[str], kept: Cells) -> list[Cell]:
    """The cells of the settings that are not kept yet, in the order of ORDER; all seeds of a table together."""
    wanted: dict[tuple[str, int], list[str]] = {}
    ranked: list[tuple[str, int, tuple[str, ...]]] = []
    for name, which in ORDER:
        if name not in settings or (quick and (name, which) != ORDER[0]):
            continue
        seeds = SETTINGS[name].seeds.get(which, ())
        for seed in seeds[:QUICK_SEEDS] if quick else seeds:
            have = kept.get(name, {}).get(str(seed), {"methods": {}})["methods"]
            if open_ := tuple(method for method in group(which) if method not in have):
                wanted.setdefault((name, seed), []).extend(open_)
                ranked.append((name, seed, open_))
    recipes = {
        key: paper_recipe(key[0], key[1], variants(key[0], names), out / key[0] / f"seed-{key[1]}")
        for key, names in wanted.items()
    }
    cells = {cell.key: cell for cell in cells_of(list(recipes.values()))}
    ordered: dict[tuple[str, str], Cell] = {}

    def add(key: tuple[str, str]) -> None:
        if key not in ordered:
            for before in cells[key].after:
                add(before)
            ordered[key] = cells[key]

    for name, seed, methods in ranked:
        folder = str(recipes[name, seed].folder)
        for method in methods:
            add((folder, EVALUATE + method))
    return list(ordered.values())
