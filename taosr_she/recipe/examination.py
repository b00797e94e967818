"""Who examines the rollouts of a training stage: its settings, and the examiner put together from them."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, model_validator

from taosr_she.base.config import Strict
from taosr_she.base.errors import UserError
from taosr_she.examine.foreign import Foreign, examiner_class
from taosr_she.examine.gsrm_endpoint import EndpointJudge, EndpointJudgeConfig
from taosr_she.examine.hybrid import BAR, Hybrid, check_bar
from taosr_she.examine.noisy import Noisy
from taosr_she.examine.verdicts import Examiner
from taosr_she.examine.verifier import Verifier
from taosr_she.recipe.context import Context
from taosr_she.recipe.data_folder import DataFolder
from taosr_she.recipe.records import read_record
from taosr_she.train.rl.monitor import Monitor, MonitorConfig


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
    examiner: str | None = None
    """Import path of an examiner of your own in the judge's place: `my_package.examiners:MyExaminer`, a class that is
    called with the domain and has `examine(pairs, responses)` (docs/extending.md). It is not measured here."""
    examiner_options: dict[str, Any] = Field(default_factory=dict)
    """What that class is called with besides the domain, by name."""
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
        if self.judge is not None and self.endpoint is not None:
            raise ValueError("name a `judge` stage or an `endpoint`, not both")
        if self.examiner is not None:
            if self.judge is not None or self.endpoint is not None:
                raise ValueError("an `examiner` of your own stands in the place of `judge` and `endpoint`: name one")
            examiner_class(self.examiner, self.examiner_options)
        elif self.examiner_options:
            raise ValueError("`examiner_options` belong to an `examiner`")
        if (self.mode == "scalar") != (self.scalar is not None):
            raise ValueError("mode `scalar` and the name of a `scalar` stage go together")
        if self.mode in ("human_first", "judge_only", "agree") and not self.judged:
            raise ValueError(f"mode `{self.mode}` needs a `judge` stage or an `endpoint`, or an `examiner`")
        if self.flip and self.mode == "scalar":
            raise ValueError("`flip` turns verdicts on steps around; mode `scalar` has none")
        return self

    @property
    def judged(self) -> bool:
        """Somebody is to examine where people have not spoken."""
        return any(who is not None for who in (self.judge, self.endpoint, self.examiner))

    @property
    def resolved_mode(self) -> str:
        """The mode, with the default filled in."""
        return self.mode or ("human_first" if self.judged else "human_only")


@dataclass(frozen=True)
class Examiners:
    """What a training stage needs: who examines, and who watches the judge (nobody, where there is no judge)."""

    examiner: Examiner
    monitor: Monitor | None
    endpoint: EndpointJudge | None = None
    """The judge, where it is behind an endpoint: it keeps account of its answers, and is to be closed."""


def examiners(context: Context, how: Examination, data: DataFolder) -> Examiners:
    """Build them; `data` is the stage's data. Raises UserError for a judge below the bar."""
    domain, mode = context.domain, how.resolved_mode
    if mode == "scalar":
        from taosr_she.examine.scalar import ScalarExaminer

        assert how.scalar is not None
        scalar = ScalarExaminer(context.checkpoint(how.scalar), domain, context.recipe.device)
        return Examiners(scalar, None)
    examiner: Examiner = Verifier(domain, data.annotations())
    monitor = endpoint = None
    if mode != "human_only":
        judge = _judge(context, how)
        endpoint = judge if isinstance(judge, EndpointJudge) else None
        examiner = Hybrid(examiner, judge, mode)  # type: ignore[arg-type]
        monitor = Monitor(Verifier(domain, data.probe()), domain.label_step, how.monitor)
    if how.flip:
        examiner = Noisy(examiner, domain, how.flip, context.recipe.seed)
    return Examiners(examiner, monitor, endpoint)


def _judge(context: Context, how: Examination) -> Examiner:
    if how.examiner is not None:
        return Foreign(how.examiner, how.examiner_options, context.domain)
    if how.endpoint is not None:
        # Beside the stages: answers were paid for, and survive a change of settings.
        return EndpointJudge(how.endpoint, context.domain, context.recipe.folder / "judge-answers.jsonl")
    assert how.judge is not None
    from taosr_she.examine.gsrm import GSRM
    from taosr_she.recipe.stages.judge import REPORT  # whose folder imports this file

    report = read_record(context.stages / how.judge / REPORT)
    if not report:
        raise UserError(f"{context.stages / how.judge / REPORT} is damaged: run again with --redo {how.judge}")
    check_bar(report["examiners"]["judge"]["metrics"], how.bar, how.override_bar)
    # Nothing is remembered between updates: a reasoning is rounded a little differently in another batch, and with a
    # memory the batches of a resumed run are others. Pairs come back after a whole pass only, so this costs next to
    # nothing.
    return GSRM.load(context.checkpoint(how.judge), context.domain, context.recipe.device, context.recipe.seed, 0)
