"""The recipe file: what a run is made of. An unknown key anywhere is an error that names it."""

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from taosr_she.data.market.market import MarketConfig
from taosr_she.data.teachers.llm_config import LLMTeacherConfig
from taosr_she.domain.domain import Domain, Strict, load_domain
from taosr_she.errors import UserError
from taosr_she.model.tiny import TinyConfig
from taosr_she.train.settings import StepCreditSettings
from taosr_she.train.sft import SFTSettings


class MarketStage(Strict):
    """Data from the market: no file, no download."""

    kind: Literal["market"]
    """Discriminator."""
    market: MarketConfig = MarketConfig()
    """What the market holds."""


class PairsStage(Strict):
    """Data from a file of labelled pairs."""

    kind: Literal["pairs"]
    """Discriminator."""
    path: str
    """CSV, TSV, JSONL, Parquet (or .gz of the text formats), or a folder (WANDS, a saved Hugging Face dataset).
    Relative paths start at the working folder."""
    layout: str = "auto"
    """Column layout: auto, plain, esci, esci-sample, wands, rair."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our field -> the file's column, on top of the layout."""
    where: dict[str, Any] = Field(default_factory=dict)
    """Keep only rows with these values, e.g. `{locale: us}`."""
    not_scored: dict[str, Any] = Field(default_factory=dict)
    """Rows with these values may train but are left out of the development and test splits."""
    split: dict[str, float] = Field(default_factory=lambda: {"training": 0.7, "development": 0.1, "test": 0.2})
    """Shares of the splits, by query."""
    teacher: Literal["lexical", "llm", "none"] = "lexical"
    """Who writes demonstrations for the training split. `lexical` also gives machine references for the steps; `llm`
    asks an OpenAI-compatible endpoint."""
    llm: LLMTeacherConfig | None = None
    """Endpoint, model and limits of `teacher: llm`. Answers are kept in `llm-answers.jsonl` of the run folder."""
    demonstrations: str | None = None
    """A file of demonstrations (JSONL of `pair_id, response, teacher`) instead of the teacher's."""

    @model_validator(mode="after")
    def _check(self) -> "PairsStage":
        if (self.teacher == "llm") != (self.llm is not None):
            raise ValueError("`teacher: llm` and the section `llm` go together")
        if "training" not in self.split or "test" not in self.split:
            raise ValueError("`split` needs shares for `training` and `test`")
        return self


class SFTStage(Strict):
    """Supervised fine-tuning on the demonstrations of a data stage."""

    kind: Literal["sft"]
    """Discriminator."""
    data: str = "data"
    """Name of the data stage."""
    model: str = "tiny"
    """`tiny`, a folder, or a name on the Hugging Face hub."""
    tiny: TinyConfig = TinyConfig()
    """Size of the tiny model."""
    settings: SFTSettings = SFTSettings()
    """How to train."""


class RLStage(Strict):
    """Reinforcement learning with credit on steps."""

    kind: Literal["rl"]
    """Discriminator."""
    start: str = "sft"
    """Name of the stage whose checkpoint is the start."""
    data: str = "data"
    """Name of the data stage."""
    settings: StepCreditSettings = StepCreditSettings()
    """How to train."""


class EvaluateStage(Strict):
    """Measure models on a split that none of them was trained on."""

    kind: Literal["evaluate"]
    """Discriminator."""
    models: tuple[str, ...]
    """Stages whose checkpoints are measured, in the order of the table."""
    data: str = "data"
    """Name of the data stage."""
    split: Literal["development", "test"] = "test"
    """Which pairs."""
    baselines: tuple[Literal["majority", "tfidf"], ...] = ()
    """Classic baselines fitted on the training split."""
    compare: tuple[tuple[str, str], ...] = ()
    """Pairs (a, b) for the paired comparison b - a; empty: every model against the one before it."""
    max_new_tokens: int = Field(default=128, gt=0)
    """Length limit of a response."""
    batch_rows: int = Field(default=256, gt=0)
    """Responses generated at the same time."""
    resamples: int = Field(default=1000, ge=100)
    """Bootstrap resamples (over queries)."""


Stage = Annotated[MarketStage | PairsStage | SFTStage | RLStage | EvaluateStage, Field(discriminator="kind")]


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
                allowed = {"data": ("market", "pairs"), "checkpoint": ("sft", "rl")}[role]
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


def wiring(stage: Stage) -> list[tuple[str, str]]:
    """(role, stage name) of everything a stage reads: role is `data` or `checkpoint`."""
    if isinstance(stage, SFTStage):
        return [("data", stage.data)]
    if isinstance(stage, RLStage):
        return [("data", stage.data), ("checkpoint", stage.start)]
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
