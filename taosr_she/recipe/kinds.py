"""The kinds of stage and their options. A kind is the name of the file in `stages/` that runs it."""

import math
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from taosr_she.base.config import Strict
from taosr_she.data.market.market import MarketConfig
from taosr_she.data.teachers.llm_config import LLMTeacherConfig
from taosr_she.examine.gsrm_config import GSRMConfig
from taosr_she.examine.gsrm_endpoint import EndpointJudgeConfig
from taosr_she.examine.hybrid import BAR
from taosr_she.model.sampling import Sampling
from taosr_she.model.tiny import TinyConfig
from taosr_she.select.config import SelectionConfig
from taosr_she.train.rl.curriculum import CurriculumStage
from taosr_she.train.rl.monitor import MonitorConfig
from taosr_she.train.rl.settings import StepCreditSettings
from taosr_she.train.rl.watch import WatchConfig
from taosr_she.train.trl.dpo import DPOSettings
from taosr_she.train.trl.scalar import ScalarSettings
from taosr_she.train.trl.sft import SFTSettings


class MarketStage(Strict):
    """Data from the market: no file, no download."""

    kind: Literal["market"]
    """Discriminator."""
    market: MarketConfig = MarketConfig()
    """What the market holds."""
    probe_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the annotated training pairs that are kept from verifier and judge, to watch the judge in training."""


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
    encoding: str | None = None
    """Of a text file that is not UTF-8: cp1252, gb18030, shift_jis, ..."""
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
    annotations: str | None = None
    """What people said: a JSONL file, a SQLite file (.db, .sqlite), or a database URL. What they said of the training
    split examines rollouts and trains judges, of the development split measures judges, of both scored splits gives the
    truth of the step metrics."""
    probe_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the annotated training pairs that are kept from verifier and judge, to watch the judge in training."""

    @field_validator("where", "not_scored")
    @classmethod
    def _check_values(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name, wanted in values.items():
            if any(isinstance(v, dict | list) for v in (wanted if isinstance(wanted, list) else [wanted])):
                raise ValueError(f"'{name}' must be a value or a list of values")
        return values

    @model_validator(mode="after")
    def _check(self) -> "PairsStage":
        if (self.teacher == "llm") != (self.llm is not None):
            raise ValueError("`teacher: llm` and the section `llm` go together")
        if "training" not in self.split or "test" not in self.split:
            raise ValueError("`split` needs shares for `training` and `test`")
        unknown = self.split.keys() - {"training", "development", "test"}
        if unknown:
            raise ValueError(f"`split` knows training, development and test, not '{min(unknown)}'")
        if min(self.split.values()) < 0 or not math.isclose(sum(self.split.values()), 1):
            raise ValueError("`split`: the shares must not be negative and must sum to 1")
        return self


class SFTStage(Strict):
    """Supervised fine-tuning on the demonstrations of a data stage."""

    kind: Literal["sft"]
    """Discriminator."""
    data: str = "data"
    """Name of the data stage."""
    model: str = "tiny"
    """`tiny`, a folder, or a name on the Hugging Face hub."""
    other_domain: bool = False
    """Start from `model` although its `domain.yaml` says that it was trained for another domain."""
    tiny: TinyConfig = TinyConfig()
    """Size of the tiny model."""
    settings: SFTSettings = SFTSettings()
    """How to train."""


class SelectStage(Strict):
    """Choose the training pairs that are worth training on, by the rollouts of a policy and by their texts."""

    kind: Literal["select"]
    """Discriminator."""
    start: str = "sft"
    """Name of the stage whose checkpoint says how hard a pair is."""
    data: str = "data"
    """Name of the data stage."""
    pairs: str | None = None
    """Name of an earlier select stage, to choose among the pairs that it chose: diversity costs no tokens, so it may go
    first and difficulty be measured on what it leaves. Unset: among the whole training split."""
    selection: SelectionConfig = SelectionConfig()
    """Every threshold."""


class Examination(Strict):
    """Who examines the steps of rollouts."""

    mode: Literal["human_first", "judge_only", "human_only", "agree", "scalar"] | None = None
    """`human_first`: people where they have spoken, the judge elsewhere. `judge_only`, `human_only`. `agree`: people
    and judge must say the same. `scalar`: one number from a reward model on all steps. Unset: `human_first` with a
    judge, `human_only` without."""
    judge: str | None = None
    """Name of the judge stage."""
    endpoint: EndpointJudgeConfig | None = None
    """A judge behind an OpenAI-compatible endpoint instead. Answers are kept in `judge-answers.jsonl` of the run."""
    scalar: str | None = None
    """Name of the scalar stage, for mode `scalar`."""
    bar: float = Field(default=BAR, ge=0, le=1)
    """Least first-error F1 of the judge on held-out people. A judge below it stops the run. An endpoint is not measured
    here."""
    override_bar: bool = False
    """Use a judge below the bar all the same, with a warning."""
    monitor: MonitorConfig = MonitorConfig()
    """When to warn that judge and people part ways."""
    flip: float = Field(default=0.0, ge=0, le=1)
    """Chance that a known verdict on a reasoning step is turned around, the same text always in the same way: for
    measuring how much wrong examination a credit rule stands. Not with mode `scalar`."""

    @model_validator(mode="after")
    def _check(self) -> "Examination":
        judged = self.judge is not None or self.endpoint is not None
        if self.judge is not None and self.endpoint is not None:
            raise ValueError("name a `judge` stage or an `endpoint`, not both")
        if (self.mode == "scalar") != (self.scalar is not None):
            raise ValueError("mode `scalar` and the name of a `scalar` stage go together")
        if self.mode in ("human_first", "judge_only", "agree") and not judged:
            raise ValueError(f"mode `{self.mode}` needs a `judge` stage or an `endpoint`")
        if self.flip and self.mode == "scalar":
            raise ValueError("`flip` turns verdicts on steps around; mode `scalar` has none")
        return self

    @property
    def resolved_mode(self) -> str:
        """The mode, with the default filled in."""
        judged = self.judge is not None or self.endpoint is not None
        return self.mode or ("human_first" if judged else "human_only")


class RLStage(Strict):
    """Reinforcement learning with credit on steps."""

    kind: Literal["rl"]
    """Discriminator."""
    start: str = "sft"
    """Name of the stage whose checkpoint is the start."""
    data: str = "data"
    """Name of the data stage."""
    pairs: str | None = None
    """Name of a select stage, to train on the pairs that it chose; unset: on the whole training split."""
    curriculum: tuple[CurriculumStage, ...] = ()
    """Stages of the training, with bands of the pass rates that the select stage `pairs` has measured. Their `updates`
    replace that of the settings."""
    examination: Examination = Examination()
    """Who examines the rollouts."""
    watch: WatchConfig | None = None
    """Answer development pairs every few updates, for learning curves (`watch.jsonl`); unset: not."""
    settings: StepCreditSettings = StepCreditSettings()
    """How to train."""

    @model_validator(mode="after")
    def _check_curriculum(self) -> "RLStage":
        names = [stage.name for stage in self.curriculum]
        if len(set(names)) < len(names):
            raise ValueError("curriculum: two stages have the same name")
        for stage in self.curriculum:
            if (stage.pass_low, stage.pass_high) != (0, 1) and self.pairs is None and stage.pairs is None:
                raise ValueError("curriculum: bands of pass rates need `pairs`, the name of a select stage")
        for stage in self.curriculum:
            stage.resolve(self.settings)
        return self


class LabelSFTStage(Strict):
    """SFT continued on labelled pairs that have no reasoning, a baseline: the start policy's own greedy reasoning is
    read, the human label and the end behind it are learnt."""

    kind: Literal["label_sft"]
    """Discriminator."""
    start: str = "sft"
    """Name of the stage whose checkpoint writes the reasoning, and is the start."""
    data: str = "data"
    """Name of the data stage."""
    max_new_tokens: int = Field(default=128, gt=0)
    """Length limit of the reasoning."""
    settings: SFTSettings = SFTSettings(epochs=1, learning_rate=1e-4)
    """How to train."""


class RejectionStage(Strict):
    """Rejection-sampling fine-tuning, a baseline: SFT on the start policy's own responses with the right label."""

    kind: Literal["rejection"]
    """Discriminator."""
    start: str = "sft"
    """Name of the stage whose checkpoint samples, and is the start."""
    data: str = "data"
    """Name of the data stage."""
    group_size: int = Field(default=8, gt=0)
    """Responses sampled for each training pair."""
    per_pair: int = Field(default=2, gt=0)
    """Most different responses kept of one pair."""
    sampling: Sampling = Sampling()
    """Length limit and temperature of the responses."""
    settings: SFTSettings = SFTSettings(epochs=1, learning_rate=1e-4)
    """How to train."""


class DPOStage(Strict):
    """Direct preference optimisation, a baseline: own responses with the right label before those with a wrong one."""

    kind: Literal["dpo"]
    """Discriminator."""
    start: str = "sft"
    """Name of the stage whose checkpoint samples, and is start and reference."""
    data: str = "data"
    """Name of the data stage."""
    group_size: int = Field(default=8, ge=2)
    """Responses sampled for each training pair."""
    per_pair: int = Field(default=2, gt=0)
    """Most preferences of one pair."""
    sampling: Sampling = Sampling()
    """Length limit and temperature of the responses."""
    settings: DPOSettings = DPOSettings()
    """How to train."""


class ScalarStage(Strict):
    """Train the scalar reward model, the baseline: preferred and rejected rollouts of the start policy."""

    kind: Literal["scalar"]
    """Discriminator."""
    start: str = "sft"
    """Name of the stage whose checkpoint samples the responses and is the reward model's start."""
    data: str = "data"
    """Name of the data stage."""
    group_size: int = Field(default=8, ge=2)
    """Responses sampled for each training pair."""
    per_pair: int = Field(default=2, gt=0)
    """Most preferences of one pair: a response with the right label before one with a wrong label."""
    sampling: Sampling = Sampling()
    """Length limit and temperature of the responses."""
    settings: ScalarSettings = ScalarSettings()
    """How to train."""


class JudgeStage(Strict):
    """Train a generative stepwise reward model (GSRM) on what people said, and measure it on what other people said."""

    kind: Literal["judge"]
    """Discriminator."""
    start: str = "sft"
    """Name of the stage whose checkpoint is examined by the judge, and is its start."""
    data: str = "data"
    """Name of the data stage."""
    group_size: int = Field(default=4, gt=0)
    """Where steps are read: responses of the start policy to each annotated pair, the errors the judge will meet."""
    corrupted: int = Field(default=2000, ge=0)
    """Where steps are read: examples made by named corruptions from what people said is right."""
    corrupted_demonstrations: int = Field(default=8000, ge=0)
    """Where steps are read: examples made so from demonstrations that end in the right label; they teach to compare."""
    report_group_size: int = Field(default=2, gt=0)
    """Responses of the start policy sampled for each pair that held-out people annotated."""
    sampling: Sampling = Sampling()
    """Length limit and temperature of the responses."""
    gsrm: GSRMConfig = GSRMConfig()
    """How the judge judges."""
    settings: SFTSettings = SFTSettings()
    """How to train."""
    scalar: str | None = None
    """Name of an earlier scalar stage, to stand beside the judge as a control."""
    resamples: int = Field(default=1000, ge=100)
    """Bootstrap resamples (over pairs) of the intervals."""


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
    robustness_pairs: int = Field(default=0, ge=0)
    """Pairs that are answered again under every robustness probe, the first ones of the split. 0: none."""

    @model_validator(mode="after")
    def _check(self) -> "EvaluateStage":
        names = [*self.baselines, *self.models]
        if not names:
            raise ValueError("neither `models` nor `baselines`: nothing to measure")
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"'{twice[0]}' stands twice in `models` and `baselines`")
        for a, b in self.compare:
            unknown = [name for name in (a, b) if name not in names]
            if unknown:
                raise ValueError(f"`compare` names '{unknown[0]}', which is not among {', '.join(names)}")
            if a == b:
                raise ValueError(f"`compare` sets '{a}' against itself")
        return self


Stage = Annotated[
    MarketStage
    | PairsStage
    | SFTStage
    | SelectStage
    | LabelSFTStage
    | RejectionStage
    | DPOStage
    | ScalarStage
    | JudgeStage
    | RLStage
    | EvaluateStage,
    Field(discriminator="kind"),
]
