"""Running cells: a cell is one stage of one recipe. They run in any order their inputs allow, one process per core."""

import gc
import multiprocessing
import multiprocessing.connection
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass

from taosr_she.base.errors import UserError
from taosr_she.recipe.config import Recipe
from taosr_she.recipe.plan import PlannedStage, plan


@dataclass(frozen=True)
class Cell:
    """One stage of one recipe, and the keys of the cells that must run before it."""

    recipe: Recipe
    planned: PlannedStage
    after: tuple[tuple[str, str], ...]

    @property
    def key(self) -> tuple[str, str]:
        return str(self.recipe.folder), self.planned.name


@dataclass(frozen=True)
class Failure:
    """A cell that failed, with the error in one line."""

    cell: str
    line: str


def cells_of(recipes: Sequence[Recipe]) -> list[Cell]:
    """Every stage of every recipe, in order. A stage shared by several recipes of one folder is listed once."""
    cells: dict[tuple[str, str], Cell] = {}
    for recipe in recipes:
        for planned in plan(recipe, recipe.load_domain()):
            after = tuple((str(recipe.folder), wanted) for _, wanted in planned.stage.reads())
            cell = Cell(recipe, planned, after)
            known = cells.setdefault(cell.key, cell)
            if known.planned.fingerprint != planned.fingerprint:
                raise UserError(f"{cell.key[0]}: two recipes define different stages '{planned.name}' in one folder")
    return list(cells.values())


def run_cells(cells: Sequence[Cell], workers: int, say: Callable[[str], None]) -> list[Failure]:
    """Run the cells that are not done, earlier ones first, but none that waits for a failed cell. Returns failures."""
    from taosr_she.recipe.run import open_folder, write_head

    with ExitStack() as folders:  # this process holds the folders' locks; its workers run stages in them
        for recipe in {c.recipe.folder: c.recipe for c in cells}.values():
            folders.enter_context(open_folder(recipe.folder))
            write_head(recipe, recipe.load_domain())
        return _run_open(cells, workers, say)


def _run_open(cells: Sequence[Cell], workers: int, say: Callable[[str], None]) -> list[Failure]:
    open_ = [c for c in cells if c.planned.state != "done"]
    done = {c.key for c in cells} - {c.key for c in open_}
    say(f"{len(cells)} cells, {len(done)} done before, {len(open_)} to run on {workers} processes")
    failures: list[Failure] = []
    running: dict[Future[tuple[float, str]], Cell] = {}
    total, finished, started = len(open_), 0, time.monotonic()
    # A fresh interpreter in every worker: torch does not survive a fork.
    with ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=begin_worker
    ) as pool:
        while open_ or running:
            for cell in [c for c in open_ if done.issuperset(c.after)][: workers - len(running)]:
                open_.remove(cell)
                running[pool.submit(run_cell, cell.recipe, cell.planned.name)] = cell
            if not running:
                failures += [Failure(" ".join(c.key), "waits for a failed cell") for c in open_]
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                cell, finished = running.pop(future), finished + 1
                seconds, error = future.result()
                if error:
                    failures.append(Failure(" ".join(cell.key), error))
                else:
                    done.add(cell.key)
                spent = time.monotonic() - started
                left = spent / finished * (total - finished)
                how = f"FAILED: {error}" if error else f"{seconds:.0f} s"
                say(f"[{finished}/{total}] {' '.join(cell.key)}: {how}; about {left / 60:.0f} min left")
    return failures


def run_cell(recipe: Recipe, name: str) -> tuple[float, str]:
    """Run one stage in this process. Returns the seconds taken and the error in one line ('' if there was none).

    The stage's output, and the traceback of an error, go to `<stage>.log` in the run folder.
    """
    from rich.console import Console

    from taosr_she.recipe.progress import Progress
    from taosr_she.recipe.run import run_stage, set_threads

    domain = recipe.load_domain()
    planned = next(p for p in plan(recipe, domain) if p.name == name)
    started = time.monotonic()
    log = recipe.folder / f"{name}.log"
    with log.open("a", encoding="utf-8") as file:
        try:
            set_threads(recipe.threads)
            with Progress(Console(file=file, width=200)) as progress:
                run_stage(recipe, domain, planned, progress)
        except Exception as error:  # one failed cell must not stop the others; the log has the traceback
            traceback.print_exc(file=file)
            return time.monotonic() - started, f"{' '.join(str(error).split())[:300]} (see {log})"
        finally:
            _return_gpu_memory()
    return time.monotonic() - started, ""


def _return_gpu_memory() -> None:
    """What torch keeps for the next stage of this worker is wanted by the others on the same card."""
    if (torch := sys.modules.get("torch")) and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


def begin_worker() -> None:
    """Each worker is one busy thread; libraries that count cores must not start more. It ends with the process that
    started it, which holds the locks: otherwise, after a kill, it would go on in folders that the next start opens."""
    import logging
    import warnings

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.simplefilter("ignore")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
