"""Runs a recipe: every stage that is not done, in order, then the report."""

import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from taosr_she import __version__
from taosr_she.base.errors import UserError
from taosr_she.base.files import read_object, write_json, write_text
from taosr_she.base.secret import masked_values
from taosr_she.base.strict_yaml import dump_yaml
from taosr_she.domain.domain import Domain
from taosr_she.model.domain_file import save_domain
from taosr_she.ranks.work import everywhere, local_processes, processes
from taosr_she.recipe.card import write_card
from taosr_she.recipe.config import Recipe
from taosr_she.recipe.context import Context
from taosr_she.recipe.lock import only_process
from taosr_she.recipe.plan import PlannedStage, forget, plan, redone
from taosr_she.recipe.progress import Progress
from taosr_she.recipe.records import damaged_records, verify_files
from taosr_she.recipe.run_log import RUN_LOG, RunLog
from taosr_she.recipe.table import results_table
from taosr_she.recipe.track import FOLDER as TRACKED
from taosr_she.recipe.track import Tracked, check_tracker, followed, how_to_look

ENVIRONMENT = "environment.json"
"""Marks the folder of a run."""
HEAD = ("recipe.yaml", "domain.yaml", ENVIRONMENT, "report.html", RUN_LOG, TRACKED, "stages")
"""Files that a run writes into its folder and overwrites."""
INTENTS = {"done": "kept", "resumes": "resumes", "changed": "runs anew", "new": "runs"}


def run_recipe(recipe: Recipe, progress: Progress, redo: Sequence[str] = ()) -> Path:
    """Run what is not done yet and build the report; returns its path. A killed run resumes where it was.

    The stages `redo`, and those that depend on them, run anew whatever they have done. Raises UserError, before
    anything is written, for a recipe that cannot work and for a run folder that is not one or is in use.
    """
    domain, planned = prepare(recipe)
    anew = redone(planned, redo)
    from transformers.utils import logging

    from taosr_she.model.policy import resolve_device
    from taosr_she.report.build import build_report

    resolve_device(recipe.device)
    check_tracker(recipe.track)
    with open_folder(recipe.folder):
        logging.disable_progress_bar()  # saving and loading would cut through our own progress
        forget(anew)
        write_head(recipe, domain)
        with RunLog(recipe.folder, progress) as log:
            if recipe.track != "none":
                progress.say(how_to_look(recipe.track, recipe.folder, recipe.name))
            for stage in planned:
                if stage.state == "done":
                    progress.say(f"{stage.name}: done before, kept")
                    continue
                run_stage(recipe, domain, stage, progress)
            report = build_report(recipe.folder)
            results = read_results(recipe.folder)
            if results is not None:
                log.show(results_table(results))
            log.write(f"report: {report}")
            return report


def prepare(recipe: Recipe) -> tuple[Domain, list[PlannedStage]]:
    """The domain and the plan. Raises UserError for problems that can be found before the work."""
    domain = recipe.load_domain()
    recipe.check(domain)
    return domain, plan(recipe, domain)


@contextmanager
def open_folder(folder: Path) -> Iterator[None]:
    """Create the run folder and lock it against other processes. UserError if the folder is not a run folder."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: the run folder would be here, and this is a file; name another place with out=")
    taken = [name for name in HEAD if (folder / name).exists()]
    ours = read_object(folder / ENVIRONMENT)
    damaged = (folder / ENVIRONMENT).is_file() and not ours
    if taken and not damaged and "taosr_she" not in ours:
        raise UserError(
            f"{folder}: not the folder of a run (no {ENVIRONMENT} of ours), and {taken[0]} in it would be lost; "
            "name another folder with out="
        )
    with only_process(folder):
        yield


def write_head(recipe: Recipe, domain: Domain) -> None:
    """Record in the run folder what was requested and on what machine, and set the threads."""
    folder = recipe.folder
    set_threads(recipe.threads)
    write_json(folder / ENVIRONMENT, environment(recipe))  # first: it marks the folder as that of a run
    resolved = masked_values(recipe.model_dump(mode="json", exclude={"shared"}))
    write_text(folder / "recipe.yaml", dump_yaml(resolved))
    save_domain(domain, folder)


def run_stage(recipe: Recipe, domain: Domain, planned: PlannedStage, progress: Progress) -> None:
    """Run one stage whose inputs are done, in its folder; a half-finished one continues.

    Raises UserError when a file that an earlier stage has written is missing or damaged.
    """
    for name in damaged_records(planned.folder):
        progress.say(f"{planned.name}: {name} is damaged and counts as not there")
    for wanted in dict.fromkeys(wanted for _, wanted in planned.stage.reads()):
        verify_files(planned.folder.parent / wanted, wanted)
    progress.say(f"{planned.name}: {_beginning(planned)}")
    planned.begin()
    own = recipe.domain_before(planned.name, domain)
    context = Context(planned.name, planned.folder, recipe, own, progress, planned.folder.parent, domain)
    started = time.monotonic()
    with followed(recipe.track, planned.folder, lambda: tracked(recipe, planned)) as follow:
        progress.each_update = follow
        summary = planned.stage.run(context)
    progress.each_update = lambda: None
    write_card(recipe, domain, planned, summary)
    planned.finish(time.monotonic() - started, summary)
    shown = ", ".join(f"{key} {value}" for key, value in summary.items() if isinstance(value, int | float | str))
    progress.say(f"{planned.name}: done in {time.monotonic() - started:.0f} s ({shown})")


def _beginning(planned: PlannedStage) -> str:
    if planned.state != "resumes":
        return "starts"
    from taosr_she.recipe.resume import saved_point

    return f"resumes {saved_point(planned.folder) or 'from its beginning: nothing was saved before it stopped'}"


def tracked(recipe: Recipe, planned: PlannedStage) -> Tracked:
    """What a tracker gets about a stage. The settings are read from the run folder, where secrets are masked."""
    written = yaml.safe_load((recipe.folder / "recipe.yaml").read_text("utf-8"))
    settings = written["stages"][planned.name]
    return Tracked(recipe.folder, recipe.name, planned.name, planned.fingerprint, settings)


def describe_plan(recipe: Recipe, redo: Sequence[str] = ()) -> str:
    """The resolved recipe and what each stage would do, for `--dry-run`."""
    _, stages = prepare(recipe)
    anew = redone(stages, redo)
    resolved = masked_values(recipe.model_dump(mode="json", exclude={"shared"}))
    lines = [dump_yaml(resolved)]
    lines.append(f"run folder: {recipe.folder}")
    for planned in stages:
        intent = "runs anew" if planned in anew and planned.state != "new" else INTENTS[planned.state]
        lines.append(f"  {planned.name:<16} {planned.stage.kind:<9} {intent:<10} {planned.fingerprint}")
    return "\n".join(lines)


def set_threads(threads: int) -> None:
    """Limit torch to this number of CPU threads on this machine, in all processes of the run; 0 leaves its choice."""
    if threads:
        import torch

        everywhere(torch.set_num_threads, [], max(1, threads // local_processes()))


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
        **({"processes": processes()} if processes() > 1 else {}),
        "seed": recipe.seed,
    }


def read_results(folder: Path) -> dict[str, Any] | None:
    """The last evaluation of a run folder, or None if it has none. Raises UserError for a damaged one."""
    files = sorted(folder.glob("stages/*/results.json"), key=lambda p: p.stat().st_mtime)
    if not files:
        return None
    results = read_object(files[-1])
    if not results:
        raise UserError(f"{files[-1]} is damaged: run again with --redo {files[-1].parent.name}")
    return results
