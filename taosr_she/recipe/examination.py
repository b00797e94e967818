"""Who examines the rollouts of a training stage, put together from its settings and the stages before it."""

from dataclasses import dataclass

from taosr_she.base.errors import UserError
from taosr_she.examine.gsrm import GSRM
from taosr_she.examine.gsrm_endpoint import EndpointJudge
from taosr_she.examine.hybrid import Hybrid, check_bar
from taosr_she.examine.noisy import Noisy
from taosr_she.examine.scalar import ScalarExaminer
from taosr_she.examine.verdicts import Examiner
from taosr_she.examine.verifier import Verifier
from taosr_she.recipe.context import Context
from taosr_she.recipe.kinds import Examination, RLStage
from taosr_she.recipe.records import read_record
from taosr_she.recipe.stages.judge import REPORT
from taosr_she.train.rl.monitor import Monitor


@dataclass(frozen=True)
class Examiners:
    """What a training stage needs: who examines, and who watches the judge (nobody, where there is no judge)."""

    examiner: Examiner
    monitor: Monitor | None
    endpoint: EndpointJudge | None = None
    """The judge, where it is behind an endpoint: it keeps account of its answers, and is to be closed."""


def examiners(context: Context, stage: RLStage) -> Examiners:
    """Build them. Raises UserError for a judge below the bar."""
    how, data, domain = stage.examination, context.data(stage.data), context.domain
    mode = how.resolved_mode
    if mode == "scalar":
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
    if how.endpoint is not None:
        # Beside the stages: answers were paid for, and survive a change of settings.
        return EndpointJudge(how.endpoint, context.domain, context.recipe.folder / "judge-answers.jsonl")
    assert how.judge is not None
    report = read_record(context.stages / how.judge / REPORT)
    if not report:
        raise UserError(f"{context.stages / how.judge / REPORT} is damaged: run again with --redo {how.judge}")
    check_bar(report["examiners"]["judge"]["metrics"], how.bar, how.override_bar)
    # Nothing is remembered between updates: a reasoning is rounded a little differently in another batch, and with a
    # memory the batches of a resumed run are others. Pairs come back after a whole pass only, so this costs next to
    # nothing.
    return GSRM.load(context.checkpoint(how.judge), context.domain, context.recipe.device, context.recipe.seed, 0)
