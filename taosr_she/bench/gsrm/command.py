"""`taosr-she bench gsrm`: choose settings on the development seed, run the report seeds, write the table."""

import json
import platform
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from os import cpu_count
from pathlib import Path
from typing import Any

from rich.console import Console

from taosr_she import __version__
from taosr_she.base.errors import UserError
from taosr_she.base.files import write_json
from taosr_she.bench.cells import cells_of, run_cells
from taosr_she.bench.gsrm.results import RESAMPLES, SHOWN, collect, first_error_f1
from taosr_she.bench.gsrm.rows import DEVELOPMENT_SEED, ROWS, SFT, UPDATES, gsrm_recipe, stage_name, tuned_as
from taosr_she.bench.marked import check_marks, write_between
from taosr_she.domain.domain import load_domain

MARKS = "gsrm"
NAMES = {
    "first_error_f1": "first-error F1", "first_error_flawed": "finds the first error",
    "first_error_clean": "passes clean", "accuracy": "accuracy",
}  # fmt: skip
Settings = dict[str, Any]


def gsrm(console: Console, out: Path, docs: Path, seeds: Sequence[int], workers: int, only: Sequence[str] = ()) -> None:
    """Run what is missing under `out`, then write `docs/results/gsrm.json` and the table in `docs/examination.md`."""

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    if unknown := sorted(set(only) - set(ROWS)):
        raise UserError(f"--row {unknown[0]}: expected one of {', '.join(ROWS)}")
    page = docs / "examination.md"
    check_marks(page, MARKS)
    tuned: dict[str, Settings] = {}
    chosen: dict[str, Settings] = {}
    for name in [name for name in ROWS if not only or name in (SFT, *only)]:
        alike = tuned_as(name)
        if alike not in tuned:
            tuned[alike] = _choose(alike, chosen.get(SFT), out, workers, say)
        chosen[name] = tuned[alike]
    recipes = {
        seed: gsrm_recipe(seed, {row: [settings] for row, settings in chosen.items()}, chosen[SFT], out)
        for seed in seeds
    }
    failures = run_cells(cells_of(list(recipes.values())), workers, say)
    if failures:
        raise UserError(
            f"{len(failures)} cells failed, {failures[0].cell}: {failures[0].line}; the others are done and kept. Fix "
            "the cause and run again"
        )
    folders = {
        row: {seed: recipe.folder / "stages" / stage_name(row, settings) for seed, recipe in recipes.items()}
        for row, settings in chosen.items()
    }
    results = {
        "command": " ".join(["taosr-she bench gsrm", *(f"--row {name}" for name in only)]),
        "versions": {"taosr_she": __version__, **{n: version(n) for n in ("torch", "transformers")}},
        "machine": f"{platform.machine()}, {cpu_count()} cores", "seeds": list(seeds), "resamples": RESAMPLES,
        "development_seed": DEVELOPMENT_SEED, "chosen": chosen, "tried": _tried(out, tuned),
        "rows": collect(folders, load_domain("taobao").step_keys),
    }  # fmt: skip
    (docs / "results").mkdir(parents=True, exist_ok=True)
    write_json(docs / "results" / "gsrm.json", results)
    write_between(page, MARKS, table(json.loads((docs / "results" / "gsrm.json").read_text("utf-8"))))
    say(f"wrote {page}")


def table(results: dict[str, Any]) -> str:
    """The table with a paragraph on how it was made."""
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    tried = "; ".join(
        f"{ROWS[row].title} " + ", ".join(f"{_said(t['settings'])} {100 * t[SHOWN[0]]:.1f}" for t in of_row)
        for row, of_row in results["tried"].items()
    )
    lines = [
        f"Produced by `{results['command']}` ({versions}; {results['machine']}) on seeds "
        f"{', '.join(map(str, results['seeds']))}; 95% intervals over seeds and pairs ({results['resamples']:,} "
        "resamples), p-values after Holm correction. Settings were chosen by first-error F1 on seed "
        f"{results['development_seed']} alone: {tried}. Chosen: "
        + "; ".join(f"{ROWS[row].title} {_said(settings)}" for row, settings in results["chosen"].items())
        + f". Reinforcement learning has {UPDATES} updates.",
        "",
        f"| GSRM | {' | '.join(NAMES[key] for key in SHOWN)} | F1 minus SFT's | seconds |",
        f"|---|{'---|' * (len(SHOWN) + 2)}",
    ]
    for row in results["rows"].values():
        cells = [*(_value(row["metrics"][key]) for key in SHOWN), _against(row.get("against")), f"{row['seconds']:.0f}"]
        lines.append(f"| {row['title']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _choose(row: str, start: Settings | None, out: Path, workers: int, say: Callable[[str], None]) -> Settings:
    """The settings of the row with the best first-error F1 on the development seed; what is missing there is run."""
    grid = list(ROWS[row].grid)
    recipe = gsrm_recipe(DEVELOPMENT_SEED, {row: grid}, start or grid[0], out)
    failures = run_cells(cells_of([recipe]), workers, say)
    if failures:
        raise UserError(f"choosing settings needs every run: {failures[0].cell}: {failures[0].line}")
    found = [first_error_f1(_stage(out, row, settings), load_domain("taobao").step_keys) for settings in grid]
    best = grid[max(range(len(grid)), key=lambda n: found[n])]
    say(f"{ROWS[row].title}: {', '.join(f'{_said(s)} {100 * f:.1f}' for s, f in zip(grid, found, strict=True))}")
    return best


def _tried(out: Path, rows: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Row -> every setting that was tried for it on the development seed, with its first-error F1."""
    keys = load_domain("taobao").step_keys
    return {
        name: [{"settings": s, SHOWN[0]: first_error_f1(_stage(out, name, s), keys)} for s in ROWS[name].grid]
        for name in rows
    }


def _stage(out: Path, row: str, settings: Settings) -> Path:
    return out / f"seed-{DEVELOPMENT_SEED}" / "stages" / stage_name(row, settings)


def _said(settings: Settings) -> str:
    return " and ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in settings.items())


def _value(found: dict[str, Any]) -> str:
    return f"{100 * found['mean']:.1f} [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"


def _against(found: dict[str, float] | None) -> str:
    if found is None:
        return "–"
    ends = f"[{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]"
    return f"{100 * found['difference']:+.1f} {ends}, p {found['p']:.3f}"
