"""Which stages must run: a stage is done when its folder holds the fingerprint of its settings and inputs."""

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taosr_she import __version__
from taosr_she.data.fingerprint import fingerprint_config, fingerprint_file
from taosr_she.domain.annotation import row_from_annotation
from taosr_she.domain.domain import Domain
from taosr_she.examine.store import read_all
from taosr_she.recipe.config import Recipe, wiring
from taosr_she.recipe.kinds import PairsStage, Stage
from taosr_she.recipe.start import check_start
from taosr_she.secret import masked, masked_values


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
        done, started = _read(self.folder / "stage.json"), _read(self.folder / "started.json")
        if done.get("fingerprint") == self.fingerprint:
            return "done"
        if started.get("fingerprint") == self.fingerprint:
            return "resumes"
        return "changed" if self.folder.exists() else "new"

    def begin(self) -> None:
        """Make the folder ready: keep a half-finished stage of this fingerprint, clear any other."""
        if self.state == "changed":
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "started.json", {"fingerprint": self.fingerprint})

    def finish(self, seconds: float, summary: dict[str, Any]) -> None:
        """Record that the stage is complete; `stage.json` is written last, so it never stands beside missing files."""
        record = {"name": self.name, "kind": self.stage.kind, "seconds": round(seconds, 1)}
        write_json(
            self.folder / "stage.json",
            {**record, "fingerprint": self.fingerprint, "inputs": self.inputs, "summary": summary},
        )


def plan(recipe: Recipe, domain: Domain) -> list[PlannedStage]:
    """All stages in order, with fingerprints that follow from settings, seed, domain, version and inputs.

    UserError when a stage that is to run starts from a model that is not there, or from one of another domain.
    """
    prints: dict[str, str] = {}
    planned = []
    for name, stage in recipe.stages.items():
        inputs = {wanted: prints[wanted] for _, wanted in wiring(stage)}
        if isinstance(stage, PairsStage):
            inputs |= {p: fingerprint_file(Path(p)) for p in (stage.path, stage.demonstrations) if p}
            if stage.annotations:
                inputs[masked(stage.annotations)] = _fingerprint_annotations(stage.annotations)
        content = {
            "stage": masked_values(stage.model_dump(mode="json")),  # a new password changes nothing that is computed
            "seed": recipe.seed,
            "domain": domain.model_dump(mode="json"),
            "version": __version__,
            "inputs": inputs,
        }
        prints[name] = fingerprint_config(content)
        planned.append(PlannedStage(name, stage, recipe.folder / "stages" / name, prints[name], inputs))
        if planned[-1].state != "done":
            check_start(name, stage, domain)
    return planned


def _fingerprint_annotations(source: str) -> str:
    """Of what is said, not of a file: a database has no file, or several."""
    return fingerprint_config([row_from_annotation(a) for a in read_all(source)])


def write_json(path: Path, content: Any) -> None:
    """Write JSON whole or not at all; NaN (undefined) becomes null."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(_without_nan(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
    part.replace(path)


def _without_nan(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and math.isnan(content) else content


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}
