"""`taosr-she bench real`: run the missing rows, keep them, and write the section of the documentation."""

import json
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from itertools import zip_longest
from os import cpu_count
from pathlib import Path

from rich.console import Console

from taosr_she import __version__
from taosr_she.base.errors import UserError
from taosr_she.base.files import write_json, write_text
from taosr_she.bench.archive import read_archive, write_archive
from taosr_she.bench.cells import Cell, cells_of, run_cells
from taosr_she.bench.marked import check_marks
from taosr_she.bench.real.kept import gather, is_kept
from taosr_she.bench.real.page import MARKS, write_page, write_summary
from taosr_she.bench.real.recipes import real_recipe
from taosr_she.bench.real.results import RESAMPLES, collect
from taosr_she.bench.real.rows import ROWS
from taosr_she.bench.real.settings import DEVELOPMENT_FOLD, FOLDS, SETTINGS

FILE = "real-cells.json.gz"
CPU = "cpu"
TRAININGS = (CPU, "gpu")
TRAINING = "training.txt"
"""File in the folder of the runs: the name of the training whose they are."""


def real(
    console: Console, out: Path, docs: Path, only: Sequence[str], folds: Sequence[int], rows: Sequence[str],
    render: bool, threads: int, workers: int = 1, training: str = CPU,
) -> None:  # fmt: skip
    """Run the rows that are not kept yet, `workers` stages at a time; then write the page, and the README's table, from
    all kept rows.

    One worker finishes a fold before the next. Several take the folds side by side: the stages of one fold wait for
    each other. Rows are kept as those of `training`, the kind of processor.
    """

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    _check("--only", only, SETTINGS)
    _check("--row", rows, ROWS)
    _check("--training", [training], TRAININGS)
    if unknown := [fold for fold in folds if not 0 <= fold < FOLDS]:
        raise UserError(f"--fold {unknown[0]}: folds are numbered from 0 to {FOLDS - 1}")
    page, readme = docs / "results.md", docs.parent / "README.md"
    for written in (page, readme):
        check_marks(written, MARKS)
    folder = docs / "results"
    _check_training(out, training)
    kept = gather(out, read_archive(folder / FILE), training)
    failures = []
    if not render:
        by_fold: list[list[Cell]] = []
        for fold in folds or (fold for fold in range(FOLDS) if fold != DEVELOPMENT_FOLD):
            for name in only or SETTINGS:
                absent = [file for file in SETTINGS[name].files if not file.is_file()]
                if absent:
                    say(f"{name} was skipped: {absent[0]} does not exist")
                    continue
                missing = [row for row in rows or ROWS if not is_kept(kept, training, name, fold, row)]
                if missing:
                    by_fold.append(cells_of([real_recipe(name, fold, missing, out, threads)]))
        side_by_side = zip_longest(*by_fold) if workers > 1 else by_fold
        failures = run_cells([cell for cells in side_by_side for cell in cells if cell], workers, say)
        kept = gather(out, kept, training)
        write_archive(folder / FILE, kept)
    for failure in failures:
        say(f"failed: {failure.cell}: {failure.line}")
    file = folder / "real.json"
    write_json(
        file,
        {
            "command": "taosr-she bench real",
            "versions": {"taosr_she": __version__, **{n: version(n) for n in ("torch", "transformers")}},
            "machine": f"{platform.machine()}, {cpu_count()} cores", "resamples": RESAMPLES, **collect(kept),
        },
    )  # fmt: skip
    results = json.loads(file.read_text("utf-8"))
    write_page(results, page)
    write_summary(results, readme)
    say(f"wrote {page} and {readme}")
    if failures:
        raise UserError(f"{len(failures)} cells failed; the others are done and kept. Fix the cause and run again")


def _check_training(out: Path, training: str) -> None:
    """UserError if the rows in the folder are those of another training; otherwise remember whose they are."""
    mark = out / TRAINING
    before = mark.read_text("utf-8").strip() if mark.is_file() else training
    if before != training:
        raise UserError(f"{out} has rows of --training {before}: name another folder with --out for {training}")
    out.mkdir(parents=True, exist_ok=True)
    write_text(mark, training + "\n")


def _check(option: str, given: Sequence[str], known: Iterable[str]) -> None:
    if unknown := sorted(set(given) - set(known)):
        raise UserError(f"{option} {unknown[0]}: expected one of {', '.join(known)}")
