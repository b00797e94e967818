"""Run a recipe: every stage that is not done, in order, then the report."""

import json
import os
import platform
import sys
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from taosr_she import __version__
from taosr_she.domain.domain import Domain
from taosr_she.model.domain_file import save_domain
from taosr_she.recipe.card import write_card
from taosr_she.recipe.config import Recipe
from taosr_she.recipe.context import Context
from taosr_she.recipe.plan import PlannedStage, plan, write_json
from taosr_she.recipe.progress import Progress
from taosr_she.recipe.run_log import RunLog
from taosr_she.recipe.table import results_table
from taosr_she.recipe.track import Tracked, check_tracker, followed, how_to_look
from taosr_she.report.build import build_report
from taosr_she.secret import masked_values


def run_recipe(recipe: Recipe, progress: Progress) -> Path:
    """Run what is not done yet and build the report; returns its path. A killed run resumes where it was."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # saving and loading would cut through our own progress
    check_tracker(recipe.track)
    domain = recipe.load_domain()
    write_head(recipe, domain)
    with RunLog(recipe.folder, progress) as log:
        if recipe.track != "none":
            progress.say(how_to_look(recipe.track, recipe.folder, recipe.name))
        for planned in plan(recipe, domain):
            if planned.state == "done":
                progress.say(f"{planned.name}: done before, kept")
                continue
            run_stage(recipe, domain, planned, progress)
        report = build_report(recipe.folder)
        results = read_results(recipe.folder)
        if results is not None:
            log.show(results_table(results))
        log.write(f"report: {report}")
        return report


def write_head(recipe: Recipe, domain: Domain) -> None:
    """Make the run folder with what was asked for and on what machine, and set the threads."""
    folder = recipe.folder
    folder.mkdir(parents=True, exist_ok=True)
    resolved = masked_values(recipe.model_dump(mode="json", exclude={"shared"}))
    (folder / "recipe.yaml").write_text(yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True), "utf-8")
    save_domain(domain, folder)
    set_threads(recipe.threads)
    write_json(folder / "environment.json", environment(recipe))


def run_stage(recipe: Recipe, domain: Domain, planned: PlannedStage, progress: Progress) -> None:
    """Run one stage whose inputs are done, in its folder; a half-finished one goes on."""
    progress.say(f"{planned.name}: {'resumes' if planned.state == 'resumes' else 'starts'}")
    planned.begin()
    context = Context(planned.name, planned.folder, recipe, domain, progress, planned.folder.parent)
    started = time.monotonic()
    with followed(recipe.track, planned.folder, lambda: tracked(recipe, planned)) as follow:
        progress.each_update = follow
        # A kind is the name of the file in stages/ that runs it; only what a recipe uses is imported.
        summary = import_module(f"taosr_she.recipe.stages.{planned.stage.kind}").run(context, planned.stage)
    progress.each_update = lambda: None
    write_card(recipe, domain, planned, summary)
    planned.finish(time.monotonic() - started, summary)
    shown = ", ".join(f"{key} {value}" for key, value in summary.items() if isinstance(value, int | float | str))
    progress.say(f"{planned.name}: done in {time.monotonic() - started:.0f} s ({shown})")


def tracked(recipe: Recipe, planned: PlannedStage) -> Tracked:
    """What a tracker is told of a stage. The settings are read from the run folder: what is secret is masked there."""
    written = yaml.safe_load((recipe.folder / "recipe.yaml").read_text("utf-8"))
    settings = written["stages"][planned.name]
    return Tracked(recipe.folder, recipe.name, planned.name, planned.fingerprint, settings)


def describe_plan(recipe: Recipe) -> str:
    """The resolved recipe and what each stage would do, for `--dry-run`."""
    resolved = masked_values(recipe.model_dump(mode="json", exclude={"shared"}))
    lines = [yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True)]
    lines.append(f"run folder: {recipe.folder}")
    for planned in plan(recipe, recipe.load_domain()):
        lines.append(f"  {planned.name:<16} {planned.stage.kind:<9} {_intent(planned):<10} {planned.fingerprint}")
    return "\n".join(lines)


def _intent(planned: PlannedStage) -> str:
    return {"done": "kept", "resumes": "resumes", "changed": "runs anew", "new": "runs"}[planned.state]


def set_threads(threads: int) -> None:
    """Limit torch to so many CPU threads; 0 leaves its choice."""
    if threads:
        import torch

        torch.set_num_threads(threads)


def environment(recipe: Recipe) -> dict[str, Any]:
    """Versions, machine and seed of this run, flat."""
    import torch

    libraries = ("torch", "transformers", "trl", "tokenizers", "numpy", "scikit-learn")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "taosr_she": __version__,
        "python": sys.version.split()[0],
        **{name: version(name) for name in libraries},
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "seed": recipe.seed,
    }


def read_results(folder: Path) -> dict[str, Any] | None:
    """The last evaluation of a run folder, or None when it has none."""
    files = sorted(folder.glob("stages/*/results.json"), key=lambda p: p.stat().st_mtime)
    return json.loads(files[-1].read_text("utf-8")) if files else None
