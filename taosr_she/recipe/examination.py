"""Who examines the rollouts of a training stage: its settings, and the examiner put together from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from taosr_she.annotate.online.config import OnlineConfig
from taosr_she.base.config import Strict
from taosr_she.base.errors import UserError
from taosr_she.base.files import read_object
from taosr_she.domain.pair import Pair
from taosr_she.examine.foreign import Foreign, examiner_class
from taosr_she.examine.gsrm_endpoint import EndpointGSRM, EndpointGSRMConfig
from taosr_she.examine.hybrid import BAR, Hybrid, check_bar
from taosr_she.examine.noisy import Noisy
from taosr_she.examine.verdicts import Examiner
from taosr_she.examine.verifier import Verifier
from taosr_she.recipe.context import Context
from taosr_she.recipe.data_folder import DataFolder
from taosr_she.recipe.online import people_online
from taosr_she.train.rl.monitor import Monitor, MonitorConfig

if TYPE_CHECKING:
    from taosr_she.annotate.online.online import Online

RENAMED_MODES = {"judge_only": "gsrm_only", "scalar": "scalar_reward_model"}
"""Former name of a mode -> its name now."""
ANSWERS = "gsrm-answers.jsonl"
"""File with the answers of an endpoint, in the run folder."""
FORMER_ANSWERS = "judge-answers.jsonl"
"""Former name of this file."""


class Examination(Strict):
    """Who examines the steps of rollouts."""

    later: ClassVar[dict[str, Any]] = {"examiner": None, "examiner_options": {}, "online": None}
    renamed: ClassVar[dict[str, str]] = {"judge": "gsrm", "scalar": "scalar_reward_model"}
    mode: Literal["human_first", "gsrm_only", "human_only", "agree", "scalar_reward_model"] | None = None
    """`human_first`: people if they have annotated, else the GSRM. `gsrm_only`, `human_only`. `agree`: unknown if
    people and GSRM differ. `scalar_reward_model`: one number from a scalar reward model for all steps. Unset:
    `human_first` with a GSRM, `human_only` without."""
    gsrm: str | None = None
    """Name of the GSRM stage."""
    endpoint: EndpointGSRMConfig | None = None
    """A GSRM behind an OpenAI-compatible endpoint instead. Answers are kept in the run's `gsrm-answers.jsonl`."""
    examiner: str | None = None
    """Import path of your own examiner, which replaces the GSRM: `my_package.examiners:MyExaminer`, a class that is
    called with the domain and has `examine(pairs, responses)` (docs/extending.md). It is not measured here."""
    examiner_options: dict[str, Any] = Field(default_factory=dict)
    """What that class is called with besides the domain, by name."""
    scalar_reward_model: str | None = None
    """Name of the `scalar_reward_model` stage, for the mode of that name."""
    bar: float = Field(default=BAR, ge=0, le=1)
    """Minimum first-error F1 of the GSRM on held-out people. A GSRM below it stops the run. An endpoint is not measured
    here."""
    override_bar: bool = False
    """Use a GSRM below the bar anyway, with a warning."""
    online: OnlineConfig | None = None
    """Ask people during the training about its rollouts, and prefer their verdicts from then on (docs/online.md). With
    mode `human_first` or `human_only`."""
    monitor: MonitorConfig = MonitorConfig()
    """When to warn that GSRM and people disagree."""
    flip: float = Field(default=0.0, ge=0, le=1)
    """Probability that a known verdict on a reasoning step is flipped, always the same way for the same text. It
    measures how much wrong examination a credit rule tolerates. Not with mode `scalar_reward_model`."""

    @field_validator("mode", mode="before")
    @classmethod
    def _former_mode(cls, mode: object) -> object:
        if isinstance(mode, str) and mode in RENAMED_MODES:
            raise ValueError(f"mode `{mode}` is now called `{RENAMED_MODES[mode]}`: rename it")
        return mode

    @model_validator(mode="after")
    def _check(self) -> "Examination":
        if self.gsrm is not None and self.endpoint is not None:
            raise ValueError("name a `gsrm` stage or an `endpoint`, not both")
        if self.examiner is not None:
            if self.gsrm is not None or self.endpoint is not None:
                raise ValueError("an `examiner` of your own replaces `gsrm` and `endpoint`: name one of them")
            examiner_class(self.examiner, self.examiner_options)
        elif self.examiner_options:
            raise ValueError("`examiner_options` belong to an `examiner`")
        if (self.mode == "scalar_reward_model") != (self.scalar_reward_model is not None):
            raise ValueError("mode `scalar_reward_model` and the name of a `scalar_reward_model` stage go together")
        if self.mode in ("human_first", "gsrm_only", "agree") and not self.has_reward_model:
            raise ValueError(f"mode `{self.mode}` needs a `gsrm` stage or an `endpoint`, or an `examiner`")
        if self.flip and self.mode == "scalar_reward_model":
            raise ValueError("`flip` flips verdicts on steps; mode `scalar_reward_model` has none")
        if self.online is not None:
            self._check_online(self.online)
        return self

    def _check_online(self, online: OnlineConfig) -> None:
        if self.resolved_mode not in ("human_first", "human_only"):
            raise ValueError(f"`online` prefers people's verdicts; mode `{self.resolved_mode}` does not")
        if self.resolved_mode == "human_only" and online.by_gsrm is not None:
            raise ValueError(
                f"online: policy `{online.by_gsrm}` needs a GSRM's verdicts: name one, or use `policies: {{random: 1}}`"
            )
        if self.flip:
            raise ValueError("`flip` would also flip what people say during the training: use it without `online`")

    @property
    def has_reward_model(self) -> bool:
        """Whether a reward model examines steps that people have not annotated."""
        return any(who is not None for who in (self.gsrm, self.endpoint, self.examiner))

    @property
    def resolved_mode(self) -> str:
        """The mode, with the default filled in."""
        return self.mode or ("human_first" if self.has_reward_model else "human_only")


@dataclass(frozen=True)
class Examiners:
    """What a training stage needs: the examiner, and the monitor of the GSRM (None without a GSRM)."""

    examiner: Examiner
    monitor: Monitor | None
    endpoint: EndpointGSRM | None = None
    """The GSRM, if it is behind an endpoint: it saves its answers, and must be closed."""
    online: "Online | None" = None
    """The people who are asked during the training; it must be closed."""


def examiners(context: Context, how: Examination, data: DataFolder, pairs: Sequence[Pair] = ()) -> Examiners:
    """Build them; `data` is the stage's data, `pairs` those that it trains on. Raises UserError for a GSRM below the
    bar."""
    domain, mode = context.domain, how.resolved_mode
    if mode == "scalar_reward_model":
        from taosr_she.examine.scalar import ScalarExaminer

        assert how.scalar_reward_model is not None
        scalar = ScalarExaminer(context.checkpoint(how.scalar_reward_model), domain, context.recipe.device)
        return Examiners(scalar, None)
    online = people_online(context, how.online, data, pairs) if how.online is not None else None
    examiner: Examiner = online or Verifier(domain, data.annotations())
    monitor = endpoint = None
    if mode != "human_only":
        gsrm = _gsrm(context, how)
        endpoint = gsrm if isinstance(gsrm, EndpointGSRM) else None
        examiner = Hybrid(examiner, gsrm, mode)  # type: ignore[arg-type]
        monitor = Monitor(Verifier(domain, data.probe()), domain.label_step, how.monitor)
    if how.flip:
        examiner = Noisy(examiner, domain, how.flip, context.recipe.seed)
    return Examiners(examiner, monitor, endpoint, online)


def _gsrm(context: Context, how: Examination) -> Examiner:
    if how.examiner is not None:
        return Foreign(how.examiner, how.examiner_options, context.domain)
    if how.endpoint is not None:
        # Beside the stages: answers were paid for, and survive a change of settings.
        answers, former = context.recipe.folder / ANSWERS, context.recipe.folder / FORMER_ANSWERS
        if former.exists() and not answers.exists():
            raise UserError(
                f"{former}: this file is now called {ANSWERS}: rename it, so that no answer is paid for twice"
            )
        return EndpointGSRM(how.endpoint, context.domain, answers)
    assert how.gsrm is not None
    from taosr_she.examine.gsrm import GSRM
    from taosr_she.recipe.stages.gsrm import REPORT  # whose folder imports this file

    report = read_object(context.stages / how.gsrm / REPORT)
    if not report:
        raise UserError(f"{context.stages / how.gsrm / REPORT} is damaged: run again with --redo {how.gsrm}")
    check_bar(report["examiners"]["gsrm"]["metrics"], how.bar, how.override_bar)
    # Nothing is remembered between updates: a reasoning is rounded a little differently in another batch, and with a
    # memory the batches of a resumed run are others. Pairs come back after a whole pass only, so this costs next to
    # nothing.
    return GSRM.load(context.checkpoint(how.gsrm), context.domain, context.recipe.device, context.recipe.seed, 0)
