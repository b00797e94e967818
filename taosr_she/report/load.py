"""A run folder as plain data. Parts that a run does not have (yet) are optional; `gaps` lists them for the page."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.base.secret import masked, masked_values
from taosr_she.base.strict_yaml import read_yaml


@dataclass(frozen=True)
class StageData:
    """One stage's folder, without its rollouts and predictions."""

    name: str
    kind: str
    folder: Path
    settings: dict[str, Any]  # the stage's part of the recipe
    seconds: float | None  # None: not finished
    fingerprint: str
    summary: dict[str, Any]
    metrics: list[dict[str, Any]]  # rows of metrics.jsonl, oldest first


@dataclass(frozen=True)
class RunData:
    """Everything that the page shows except the rollouts."""

    folder: Path
    name: str
    date: datetime | None  # when the last finished stage ended, UTC
    recipe: dict[str, Any]
    recipe_text: str
    environment: dict[str, Any]
    stages: list[StageData]  # in the recipe's order
    results: dict[str, Any] | None  # of the last evaluate stage
    notes: list[str]
    gaps: list[str] = field(default_factory=list)  # sentences about what is missing in this folder

    def of_kind(self, kind: str) -> list[StageData]:
        """The stages of one kind, in order."""
        return [stage for stage in self.stages if stage.kind == kind]


def load_run(folder: Path) -> RunData:
    """Read a run folder. Raises UserError if it is not one, or if a file in it cannot be read."""
    if not (folder / "recipe.yaml").is_file() and not (folder / "stages").is_dir():
        raise UserError(f"{folder}: not a run folder (neither recipe.yaml nor stages/ in it); name the folder of a run")
    gaps: list[str] = []
    recipe_text, recipe = _recipe(folder / "recipe.yaml", gaps)
    environment = read_json(folder / "environment.json")
    if environment is None:
        gaps.append("The environment was not recorded (no environment.json).")
    stages = _stages(folder / "stages", recipe.get("stages") or {}, gaps)
    results = _results(stages, gaps)
    ended = [(stage.folder / "stage.json").stat().st_mtime for stage in stages if stage.seconds is not None]
    return RunData(
        folder=folder,
        name=str(recipe.get("name") or folder.resolve().name),
        date=datetime.fromtimestamp(max(ended), UTC) if ended else None,
        recipe=recipe,
        recipe_text=recipe_text,
        environment=environment or {},
        stages=stages,
        results=results,
        notes=[str(note) for note in (results or recipe).get("notes") or ()],
        gaps=gaps,
    )


def _recipe(path: Path, gaps: list[str]) -> tuple[str, dict[str, Any]]:
    if not path.is_file():
        gaps.append("The recipe was not recorded (no recipe.yaml).")
        return "", {}
    recipe = read_yaml(path, str(path))
    text = path.read_text("utf-8")
    if not isinstance(recipe, dict):
        raise UserError(f"{path}: expected a mapping; run the recipe again or remove the file")
    return masked(text), masked_values(recipe)


def _stages(folder: Path, planned: dict[str, Any], gaps: list[str]) -> list[StageData]:
    """The stages on disk: those of the recipe in its order, then any other by name."""
    on_disk = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    for name in planned:
        if name not in on_disk:
            gaps.append(f"Stage {name} has not started.")
    ordered = [name for name in planned if name in on_disk] + [name for name in on_disk if name not in planned]
    return [_stage(folder / name, planned.get(name) or {}, gaps) for name in ordered]


def _stage(folder: Path, settings: dict[str, Any], gaps: list[str]) -> StageData:
    record = read_json(folder / "stage.json")
    if record is None:
        gaps.append(f"Stage {folder.name} is not finished.")
        record = {}
    kind = str(record.get("kind") or settings.get("kind") or "unknown")
    metrics = _metrics(folder / "metrics.jsonl", gaps)
    if kind in ("sft", "rl") and not metrics:
        gaps.append(f"Stage {folder.name} has no curves (metrics.jsonl is absent or empty).")
    return StageData(
        name=folder.name,
        kind=kind,
        folder=folder,
        settings=settings,
        seconds=record.get("seconds"),
        fingerprint=str(record.get("fingerprint", "")),
        summary=record.get("summary") or {},
        metrics=metrics,
    )


def _metrics(path: Path, gaps: list[str]) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    lines = path.read_text("utf-8", errors="replace").splitlines()
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            row["step"] = int(row["step"])
        except (ValueError, TypeError, KeyError) as error:
            if number == len(lines):  # still being written, or cut short by a kill
                gaps.append(f"The last line of {path.parent.name}/metrics.jsonl is unfinished and left out.")
                break
            raise UserError(f"{path}, line {number}: expected a JSON object with a whole number `step`") from error
        rows.append(row)
    return rows


def _results(stages: list[StageData], gaps: list[str]) -> dict[str, Any] | None:
    files = [stage.folder / "results.json" for stage in stages if (stage.folder / "results.json").is_file()]
    if not files:
        gaps.append("Nothing was evaluated yet: no results.json in any stage.")
        return None
    results = read_json(files[-1])
    if not results or not all(key in results for key in ("models", "codes", "step_keys")):
        raise UserError(f"{files[-1]}: expected `models`, `codes` and `step_keys`; run the evaluate stage again")
    return results


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file, None without the file. Raises UserError."""
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON; run the stage that writes it again, with --redo") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object; run the stage that writes it again, with --redo")
    return content
