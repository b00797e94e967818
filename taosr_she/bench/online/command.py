"""`taosr-she bench online`: run the missing cells, keep their numbers, and write the section of the documentation."""

import json
import platform
from collections.abc import Sequence
from os import cpu_count
from pathlib import Path

from rich.console import Console

from taosr_she import __version__
from taosr_she.base.errors import UserError
from taosr_she.base.files import write_json
from taosr_she.bench.cells import Cell, cells_of, run_cells
from taosr_she.bench.marked import check_marks
from taosr_she.bench.online.page import MARKS, differences_text, table_text, write_page
from taosr_she.bench.online.recipes import cell_names, online_recipe
from taosr_she.bench.online.results import FILE, Cells, differences, gather, read_kept, table
from taosr_she.bench.online.settings import DEVELOPMENT_SEED, SEEDS


def online(
    console: Console, out: Path, docs: Path, seeds: Sequence[int], only: Sequence[str], development: bool, render: bool,
    workers: int,
) -> None:  # fmt: skip
    """Run what is missing under `out`; then write `docs/results/online.json` and the generated part of
    `docs/online.md`. With `development`, run the development seed and only print."""

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    if unknown := sorted(set(seeds) - set(SEEDS)):
        raise UserError(f"--seed {unknown[0]}: the report seeds are {', '.join(map(str, SEEDS))}")
    if unknown_cells := sorted(set(only) - set(cell_names())):
        raise UserError(f"--only {unknown_cells[0]}: expected one of {', '.join(cell_names())}")
    page, folder = docs / "online.md", docs / "results"
    if not development:
        check_marks(page, MARKS)
    all_seeds = (DEVELOPMENT_SEED,) if development else SEEDS
    kept = gather(out, {} if development else read_kept(folder), all_seeds)
    failures = []
    if not render:
        wanted = all_seeds if development else seeds or SEEDS
        failures = run_cells(_open(out, kept, wanted, only or cell_names()), workers, say)
        kept = gather(out, kept, all_seeds)
    for failure in failures:
        say(f"failed: {failure.cell}: {failure.line}")
    results = {
        "command": "taosr-she bench online", "version": __version__,
        "machine": f"{platform.machine()}, {cpu_count()} cores", "table": table(kept),
        "differences": differences(kept), "cells": kept,
    }  # fmt: skip
    if development:
        say(f"{table_text(results['table'])}\n\n{differences_text(results['differences'])}")  # type: ignore[arg-type]
    else:
        write_json(folder / FILE, results)
        write_page(json.loads((folder / FILE).read_text("utf-8")), page)
        say(f"wrote {page}")
    if failures:
        raise UserError(f"{len(failures)} cells failed; the others are done and kept. Fix the cause and run again")


def _open(out: Path, kept: Cells, seeds: Sequence[int], wanted: Sequence[str]) -> list[Cell]:
    """The stages that are not kept, seed by seed."""
    cells: list[Cell] = []
    for seed in seeds:
        missing = [cell for cell in wanted if str(seed) not in kept.get(cell, {})]
        if missing:
            cells += cells_of([online_recipe(seed, missing, out)])
    return cells
