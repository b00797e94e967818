"""The recipe file, which defines a run. An unknown key anywhere is an error that names it."""

import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError, field_validator, model_validator

from taosr_she.base.config import Strict, describe
from taosr_she.base.errors import UserError
from taosr_she.base.overrides import set_value
from taosr_she.base.strict_yaml import parse_yaml, read_yaml
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.examine.database import check_place
from taosr_she.judge.mode import check_mode
from taosr_she.model.domain_file import difference
from taosr_she.recipe.stage import Stage
from taosr_she.recipe.stages import KINDS, find_kind
from taosr_she.recipe.stages.evaluate import EvaluateStage
from taosr_she.recipe.stages.gsrm import GSRMStage
from taosr_she.recipe.stages.market import MarketStage
from taosr_she.recipe.stages.rl import RLStage
from taosr_she.recipe.track import TrackerName

STAGE_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""A stage's name is that of its folder, whose contents are deleted if the stage has changed."""
MAX_SEED = 2**32 - 1
"""Maximum seed that numpy, and therefore the trainers, accept."""
MAX_THREADS = 1024


def _of_its_kind(stage: Any) -> Any:
    return stage if isinstance(stage, Stage) else find_kind(stage["kind"]).model_validate(stage)


class Recipe(Strict):
    """One run."""

    name: str = Field(min_length=1, max_length=100)
    """Name in the report."""
    seed: int = 1
    """Seed of all random numbers. From 0 to 4294967295."""
    out: str | None = None
    """Run folder; default `runs/<name>`."""
    threads: int = Field(default=0, ge=0, le=MAX_THREADS)
    """CPU threads of torch; 0 leaves torch's choice."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:0, ..."""
    track: TrackerName = "none"
    """Trackers that also get the metrics: none, tensorboard, trackio, wandb (`pip install 'taosr-she[track]'`)."""
    domain: str = "taobao"
    """Shipped domain or path of a YAML file."""
    domain_overrides: dict[str, Any] = Field(default_factory=dict)
    """Values that replace those of the domain in this run, e.g. `{prompt: {show_rules: false}}`."""
    notes: tuple[str, ...] = ()
    """Sentences for the top of the report."""
    shared: dict[str, Any] = Field(default_factory=dict)
    """For YAML anchors; not read."""
    stages: dict[str, Annotated[SerializeAsAny[Stage], BeforeValidator(_of_its_kind)]]
    """Name -> stage, in the order in which they run. A name consists of letters, digits, `_` and `-`."""

    @field_validator("seed")
    @classmethod
    def _check_seed(cls, seed: int) -> int:
        if not 0 <= seed <= MAX_SEED:
            raise ValueError(f"must lie from 0 to {MAX_SEED}, not {seed}")
        return seed

    @field_validator("stages", mode="before")
    @classmethod
    def _check_names(cls, stages: Any) -> Any:
        if not isinstance(stages, dict) or not stages:
            raise ValueError("expected a mapping of names to stages, with one stage at least")
        for name, stage in stages.items():
            if not isinstance(name, str) or not STAGE_NAME.fullmatch(name):
                raise ValueError(f"a stage cannot be called '{name}': letters, digits, _ and - make its name")
            if (isinstance(stage, dict) and "kind" not in stage) or not isinstance(stage, dict | Stage):
                raise ValueError(f"stage '{name}' must be a mapping with `kind`, which is one of {', '.join(KINDS)}")
        return stages

    @model_validator(mode="after")
    def _check_folder(self) -> "Recipe":
        if not self.out and (self.name.startswith(".") or not self.name.isprintable() or set(self.name) & set("/\\")):
            raise ValueError(f"name '{self.name}' cannot be that of the folder runs/<name>: change it or set `out`")
        return self

    @model_validator(mode="after")
    def _check_wiring(self) -> "Recipe":
        offered: dict[str, str] = {}
        for name, stage in self.stages.items():
            for needed, wanted in stage.reads():
                if offered.get(wanted) != needed:
                    kinds = " or ".join(kind for kind, known in KINDS.items() if known.offers == needed)
                    raise ValueError(f"stage '{name}' needs an earlier {kinds or needed} stage called '{wanted}'")
            offered[name] = stage.offers
        return self

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.out or f"runs/{self.name}")

    def check(self, domain: Domain) -> None:
        """Raises UserError for a stage that would otherwise only fail when it runs."""
        for name, stage in self.stages.items():
            stage.check(name, domain)
            self._check_online(name, stage)
            if isinstance(stage, EvaluateStage):
                for measured in stage.label_mode:
                    try:
                        check_mode(self.domain_of(measured, domain), "label")
                    except UserError as error:
                        raise UserError(f"stage '{name}', label_mode of '{measured}': {error}") from error
            gsrm = stage.examination.gsrm if isinstance(stage, RLStage) else None
            if gsrm is not None and (
                where := difference(self.domain_of(gsrm, domain), self.domain_before(name, domain))
            ):
                raise UserError(
                    f"stage '{name}': the GSRM '{gsrm}' reads responses of another domain, which differs in {where}: "
                    "train a GSRM that starts from the same stage"
                )

    def _check_online(self, name: str, stage: Stage) -> None:
        """People who answer during training are simulated only by the market; answers are those of such a training."""
        if isinstance(stage, GSRMStage):
            for asked in stage.answers:
                other = self.stages[asked]
                if not isinstance(other, RLStage) or other.examination.online is None:
                    raise UserError(
                        f"stage '{name}': answers: '{asked}' asks nobody; name an `rl` stage with `examination.online`"
                    )
        if not isinstance(stage, RLStage) or stage.examination.online is None:
            return
        store, replay = stage.examination.online.store, stage.examination.online.replay
        if store is not None:
            check_place(store)
        if replay is not None and not Path(replay).is_file() and not Path(replay).is_relative_to(self.folder):
            raise UserError(f"stage '{name}': online.replay: {replay}: no such file")
        if stage.examination.online.people is None:
            return
        data = self.stages[stage.data]
        if not isinstance(data, MarketStage):
            raise UserError(
                f"stage '{name}': online.people are simulated by the market, which knows what is right, but "
                f"'{stage.data}' is of kind `{data.kind}`: leave out `people`; real ones answer at `taosr-she "
                "annotate serve`"
            )

    def load_domain(self) -> Domain:
        """The domain with this run's overrides."""
        domain = load_domain(self.domain)
        return domain.with_overrides(self.domain_overrides) if self.domain_overrides else domain

    def domain_before(self, name: str, domain: Domain) -> Domain:
        """The domain that a stage works in, if `domain` is the run's: that of the checkpoint it starts from, if its
        kind keeps it."""
        stage = self.stages[name]
        start = getattr(stage, "start", None) if stage.keeps_domain else None
        return self.domain_of(start, domain) if start in self.stages else domain

    def domain_of(self, name: str, domain: Domain) -> Domain:
        """The domain of a stage's checkpoint, if `domain` is the run's."""
        return self.stages[name].domain_of(self.domain_before(name, domain))


def shipped_recipes() -> list[str]:
    """Names of the recipes inside the package."""
    folder = resources.files("taosr_she.recipe").joinpath("recipes")
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load_recipe(name_or_path: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> Recipe:
    """A shipped recipe by name or a YAML file, with `key.sub=value` overrides. Raises UserError with the fix."""
    if str(name_or_path) in shipped_recipes():
        text = resources.files("taosr_she.recipe").joinpath("recipes", f"{name_or_path}.yaml").read_text("utf-8")
        raw = parse_yaml(text, f"recipe {name_or_path}")
    elif Path(name_or_path).is_file():
        raw = read_yaml(Path(name_or_path), f"recipe {name_or_path}")
    else:
        raise UserError(f"recipe '{name_or_path}' is neither a file nor one of: {', '.join(shipped_recipes())}")
    if not isinstance(raw, dict):
        raise UserError(f"recipe {name_or_path}: expected a mapping with `name` and `stages`")
    for override in overrides:
        set_value(raw, override, "seed=2 or stages.sft.settings.epochs=1")
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise UserError(f"recipe {name_or_path}: {describe(error)}") from error
