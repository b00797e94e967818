"""Which stages must run: a stage is done if its folder has the fingerprint of its settings and inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taosr_she import __version__
from taosr_she.base.errors import UserError
from taosr_she.base.files import read_object, write_json
from taosr_she.base.secret import masked_values
from taosr_she.data.fingerprint import fingerprint_config
from taosr_she.domain.domain import Domain
from taosr_she.recipe.config import Recipe
from taosr_she.recipe.records import DONE, STARTED, check_ours, clear, record_files
from taosr_she.recipe.stage import Stage, code_fingerprints


@dataclass(frozen=True)
class PlannedStage:
    """A stage with its place on disk and its fingerprint."""

    name: str
    stage: Stage
    folder: Path
    fingerprint: str
    inputs: dict[str, str]  # input stage or file -> fingerprint

    @property
    def state(self) -> str:
        """done | resumes (started with the same fingerprint) | changed (made with another one) | new."""
        if read_object(self.folder / DONE).get("fingerprint") == self.fingerprint:
            return "done"
        if read_object(self.folder / STARTED).get("fingerprint") == self.fingerprint:
            return "resumes"
        return "changed" if self.folder.exists() or self.folder.is_symlink() else "new"

    def begin(self) -> None:
        """Make the folder ready: keep a half-finished stage of this fingerprint, clear any other.

        Raises UserError for a folder with something in it that is not ours.
        """
        if self.state == "changed":
            clear(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / STARTED, {"fingerprint": self.fingerprint})

    def finish(self, seconds: float, summary: dict[str, Any]) -> None:
        """Record that the stage is complete; `stage.json` is written last, after all other files."""
        record = {"name": self.name, "kind": self.stage.kind, "seconds": round(seconds, 1)}
        record |= {"fingerprint": self.fingerprint, "inputs": self.inputs, "summary": summary}
        write_json(self.folder / DONE, {**record, "files": record_files(self.folder)})

    def forget(self) -> None:
        """Let the stage run again, whatever its state: its folder is cleared before it runs."""
        if self.folder.exists():
            write_json(self.folder / STARTED, {"fingerprint": ""})
            (self.folder / DONE).unlink(missing_ok=True)


def redone(planned: Sequence[PlannedStage], names: Sequence[str]) -> list[PlannedStage]:
    """The named stages and all that depend on them, in order. Raises UserError for an unknown name."""
    known = [p.name for p in planned]
    for name in names:
        if name not in known:
            raise UserError(f"--redo {name}: no stage of that name; the stages are {', '.join(known)}")
    chosen: list[PlannedStage] = []
    for p in planned:
        if p.name in names or {c.name for c in chosen} & {wanted for _, wanted in p.stage.reads()}:
            chosen.append(p)
    return chosen


def forget(chosen: Sequence[PlannedStage]) -> None:
    """Let these stages run again. Raises UserError, before anything is changed, if a folder is not ours to clear."""
    for p in chosen:
        if p.folder.exists():
            check_ours(p.folder)
    for p in reversed(chosen):  # a stage that depends on another first: killed in between, no finished one is left over
        p.forget()


def plan(recipe: Recipe, domain: Domain, to_run: bool = True) -> list[PlannedStage]:
    """All stages in order, with fingerprints of settings, seed, domain, version and inputs.

    UserError if a stage that is to run starts from a model that does not exist, or from one of another domain. Without
    `to_run`, only fingerprints are computed, and models are not checked.
    """
    prints: dict[str, str] = {}
    planned = []
    for name, stage in recipe.stages.items():
        inputs = {wanted: prints[wanted] for _, wanted in stage.reads()} | stage.files()
        inputs |= code_fingerprints([stage.kind])
        content = {
            "stage": masked_values(stage.computed()),  # a new password changes nothing that is computed
            "seed": recipe.seed,
            "domain": domain.computed(),
            "version": __version__,
            "inputs": inputs,
        }
        prints[name] = fingerprint_config(content)
        planned.append(PlannedStage(name, stage, recipe.folder / "stages" / name, prints[name], inputs))
        if to_run and planned[-1].state != "done":
            stage.check_start(name, domain)
    return planned
