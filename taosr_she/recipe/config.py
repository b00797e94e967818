"""The recipe file: what a run is made of. An unknown key anywhere is an error that names it."""

from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, model_validator

from taosr_she.domain.domain import Domain, Strict, load_domain
from taosr_she.errors import UserError
from taosr_she.recipe.kinds import (
    DPOStage,
    EvaluateStage,
    JudgeStage,
    LabelSFTStage,
    RejectionStage,
    RLStage,
    ScalarStage,
    SelectStage,
    SFTStage,
    Stage,
)
from taosr_she.recipe.track import TrackerName


class Recipe(Strict):
    """One run."""

    name: str
    """Name in the report."""
    seed: int = 1
    """Everything random follows from it."""
    out: str | None = None
    """Run folder; default `runs/<name>`."""
    threads: int = Field(default=0, ge=0)
    """CPU threads of torch; 0 leaves torch's choice."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:0, ..."""
    track: TrackerName = "none"
    """Where metrics are shown as well: none, tensorboard, trackio, wandb (`pip install 'taosr-she[track]'`)."""
    domain: str = "taobao"
    """Shipped domain or path of a YAML file."""
    domain_overrides: dict[str, Any] = Field(default_factory=dict)
    """Values of the domain that this run replaces, e.g. `{prompt: {show_rules: false}}`."""
    notes: tuple[str, ...] = ()
    """Sentences for the head of the report."""
    shared: dict[str, Any] = Field(default_factory=dict)
    """A place for YAML anchors; not read."""
    stages: dict[str, Stage]
    """Name -> stage, in the order in which they run."""

    @model_validator(mode="after")
    def _check_wiring(self) -> "Recipe":
        kinds: dict[str, str] = {}
        for name, stage in self.stages.items():
            for role, wanted in wiring(stage):
                allowed = ROLES[role]
                if kinds.get(wanted) not in allowed:
                    raise ValueError(f"stage '{name}' needs an earlier {' or '.join(allowed)} stage called '{wanted}'")
            kinds[name] = stage.kind
        return self

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.out or f"runs/{self.name}")

    def load_domain(self) -> Domain:
        """The domain with this run's overrides."""
        domain = load_domain(self.domain)
        return domain.with_overrides(self.domain_overrides) if self.domain_overrides else domain


ROLES = {
    "data": ("market", "pairs"),
    "checkpoint": ("sft", "label_sft", "rejection", "dpo", "rl"),
    "select": ("select",),
    "judge": ("judge",),
    "scalar": ("scalar",),
}
"""What a stage may read -> the kinds of stage that offer it."""


def wiring(stage: Stage) -> list[tuple[str, str]]:
    """(role, stage name) of everything a stage reads."""
    if isinstance(stage, SFTStage):
        return [("data", stage.data)]
    if isinstance(stage, ScalarStage | LabelSFTStage | RejectionStage | DPOStage):
        return [("data", stage.data), ("checkpoint", stage.start)]
    if isinstance(stage, SelectStage):
        among = [("select", stage.pairs)] if stage.pairs else []
        return [("data", stage.data), ("checkpoint", stage.start), *among]
    if isinstance(stage, JudgeStage):
        control = [("scalar", stage.scalar)] if stage.scalar else []
        return [("data", stage.data), ("checkpoint", stage.start), *control]
    if isinstance(stage, RLStage):
        how = stage.examination
        optional = [("select", stage.pairs), ("judge", how.judge), ("scalar", how.scalar)]
        optional += [("select", leg.pairs) for leg in stage.curriculum]
        named = [(role, name) for role, name in optional if name is not None]
        return [("data", stage.data), ("checkpoint", stage.start), *named]
    if isinstance(stage, EvaluateStage):
        return [("data", stage.data), *(("checkpoint", m) for m in stage.models)]
    return []


def shipped_recipes() -> list[str]:
    """Names of the recipes inside the package."""
    folder = resources.files("taosr_she.recipe").joinpath("recipes")
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load_recipe(name_or_path: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> Recipe:
    """A shipped recipe by name or a YAML file, with `key.sub=value` overrides. Raises UserError with the mend."""
    if str(name_or_path) in shipped_recipes():
        text = resources.files("taosr_she.recipe").joinpath("recipes", f"{name_or_path}.yaml").read_text("utf-8")
    elif Path(name_or_path).is_file():
        text = Path(name_or_path).read_text("utf-8")
    else:
        raise UserError(f"recipe '{name_or_path}' is neither a file nor one of: {', '.join(shipped_recipes())}")
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"recipe {name_or_path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise UserError(f"recipe {name_or_path}: expected a mapping with `name` and `stages`")
    for override in overrides:
        _apply(raw, override)
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise UserError(f"recipe {name_or_path}: {describe(error)}") from error


def describe(error: ValidationError) -> str:
    """The first problem of a validation error as one line: where, and what."""
    first = error.errors()[0]
    where = ".".join(str(p) for p in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown key"
    return f"{where}: {message}" if where else message


def _apply(raw: dict[str, Any], override: str) -> None:
    key, found, value = override.partition("=")
    if not found:
        raise UserError(f"override '{override}': expected key=value, e.g. seed=2 or stages.sft.settings.epochs=1")
    *parents, last = key.split(".")
    place = raw
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise UserError(f"override '{override}': '{parent}' holds a value, not keys")
    try:
        place[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UserError(f"override '{override}': the value is not valid YAML") from error
