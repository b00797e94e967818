"""A GSRM trained further by reinforcement learning: its reasoning is rewarded for verdicts like people's."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from taosr_she.base.errors import UserError
from taosr_she.base.files import write_json
from taosr_she.evaluate.examiners import always_correct, examiner_differences
from taosr_she.examine.gsrm_shown import shown_examples
from taosr_she.examine.verifier import Verifier
from taosr_she.model.sampling import Sampling
from taosr_she.recipe.context import Context
from taosr_she.recipe.data_folder import DataFolder
from taosr_she.recipe.parts import kept_responses
from taosr_she.recipe.stage import Stage
from taosr_she.recipe.stages.gsrm import REPORT, examiners_report, held_out_responses
from taosr_she.train.rl.settings import StepCreditSettings

if TYPE_CHECKING:
    from taosr_she.examine.gsrm import GSRM
    from taosr_she.examine.gsrm_data import Examined
    from taosr_she.model.policy import Policy


class GSRMRLStage(Stage):
    """Train a GSRM further by reinforcement learning on people's verdicts, and measure it on those of held-out
    people."""

    kind: Literal["gsrm_rl"]
    """Name of the kind."""
    offers: ClassVar[str] = "gsrm"
    checkpoint_is: ClassVar[str] = (
        "a generative stepwise reward model: it writes a critique and a verdict for each step of a response; its "
        "critiques were trained by reinforcement learning"
    )
    start: str = "gsrm"
    """Name of the stage whose GSRM is the start; how it examines is kept."""
    policy: str = "sft"
    """Name of the stage whose checkpoint writes the responses that are examined."""
    data: str = "data"
    """Name of the data stage."""
    reward: Literal["first_error", "fapo", "steps"] = "first_error"
    """What a reasoning earns for its verdicts on a judged response: `first_error`, 1 if it names the first error that
    people found, or like them none. `fapo`, FAPO's reward: 1 or -1 for whether there is an error, less the distance
    between the places. `steps`: the share of steps on which they agree. Steps that people did not judge are not
    counted."""
    group_size: int = Field(default=4, ge=0)
    """Responses of `policy` to each annotated pair, whose steps people's references judge. 0: only the responses that
    people judged themselves."""
    report_group_size: int = Field(default=2, gt=0)
    """Number of responses of `policy` sampled for each pair that held-out people annotated."""
    sampling: Sampling = Sampling()
    """Length limit and temperature of the responses; those of the reasonings are in `settings`."""
    settings: StepCreditSettings = StepCreditSettings()
    """How to train. The outcome of a reasoning is its mean reward; the verdict of a step is 1 if it agrees with people
    in all responses to the pair. Credit rule `outcome` is GRPO on the reward alone."""
    resamples: int = Field(default=1000, ge=100)
    """Bootstrap resamples (over pairs) of the intervals."""

    def reads(self) -> list[tuple[str, str]]:
        return [("data", self.data), ("gsrm", self.start), ("checkpoint", self.policy)]

    def run(self, context: Context) -> dict[str, Any]:
        """Train the GSRM, then write `examiners.json`."""
        from taosr_she.examine.gsrm import GSRM
        from taosr_she.examine.gsrm_reward import REWARDS, ReasoningReward
        from taosr_she.train.rl.loop import train_step_credit

        data, domain, seed = context.data(self.data), context.domain, context.recipe.seed
        before = GSRM.load(context.checkpoint(self.start), domain, context.recipe.device, seed)
        if not before.config.critique:
            raise UserError(
                f"stage '{context.name}': the GSRM of '{self.start}' writes no critique, so reinforcement learning has "
                "nothing to train: train it with `gsrm: {critique: true}`"
            )
        examined_policy = context.policy(self.policy)
        cases = judged_cases(context, self, data, examined_policy)
        pairs = list({case.pair.pair_id: case.pair for case in cases}.values())
        flawed = sum(0.0 in case.verdicts for case in cases)
        context.progress.say(
            f"{context.name}: {len(cases)} judged responses to {len(pairs)} pairs, {flawed} with a wrong step"
        )
        trained = context.policy(self.start)
        # Nothing is remembered: the weights change with every update.
        learner = GSRM(trained, domain, before.config.model_copy(update={"votes": 1, "cache_size": 0}), seed)
        update = context.progress.stage(context.name, self.settings.updates)

        def on_update(row: dict[str, Any]) -> None:
            update(int(row["step"]), f"reward {row['reward']:.3f}, signal {row['signal_share']:.2f}")
            if row["collapse"]:
                context.progress.say(f"{context.name}, update {row['step']}: {row['collapse']}")

        summary = train_step_credit(
            trained, domain, pairs, ReasoningReward(learner, cases, REWARDS[self.reward]), self.settings, seed,
            context.folder, on_update,
        )  # fmt: skip
        gsrm = GSRM(trained, domain, before.config, seed)
        gsrm.save_config(context.checkpoint(context.name))
        report = self._measure(context, data, examined_policy, gsrm, before)
        report["training"] = {
            "examples": len(cases),
            "pairs": len(pairs),
            "flawed": flawed,
        }
        write_json(context.folder / REPORT, report)
        own = report["examiners"]["gsrm"]["metrics"]
        return summary | {
            "examples": len(cases), "first_error_f1": own["first_error_f1"], "accuracy": own["accuracy"],
        }  # fmt: skip

    def _measure(
        self, context: Context, data: DataFolder, policy: "Policy", gsrm: "GSRM", before: "GSRM"
    ) -> dict[str, Any]:
        """The GSRM, the one it started from and a control, on the same responses."""
        sampled, responses, truth = held_out_responses(context, self, data, data.held_out(), policy, self.policy)
        said = gsrm.examine_with_critiques(sampled, responses)
        values = {"gsrm": said.verdicts.values, "start": before.examine(sampled, responses).values}
        ids, keys, seed = [p.pair_id for p in sampled], context.domain.step_keys, context.recipe.seed
        report = examiners_report(context, self, sampled, truth, values | {"always_correct": always_correct(truth)})
        against = examiner_differences(keys, truth, values["start"], values["gsrm"], ids, self.resamples, seed)
        return report | {
            "differences": {"start": against},
            "examples": shown_examples(context.domain, sampled, responses, truth, said, seed),
        }


def judged_cases(context: Context, stage: GSRMRLStage, data: DataFolder, policy: "Policy") -> "list[Examined]":
    """Responses to annotated training pairs with people's verdicts on their steps: those that people judged themselves,
    and those of the policy which people's references judge. Each text of a pair once."""
    from taosr_she.examine.gsrm_data import examined_rollouts, judged_responses
    from taosr_she.examine.gsrm_reward import distinct

    domain, annotations = context.domain, data.annotations()
    annotated = {a.pair_id for a in annotations}
    pairs = [p for p in data.pairs("training") if p.pair_id in annotated]
    if not pairs:
        raise UserError(
            f"stage '{context.name}': no pair of the training split is annotated: there is nothing to learn"
        )
    cases = judged_responses(domain, pairs, annotations)
    if stage.group_size:
        of, responses, _ = kept_responses(context, policy, pairs, stage.group_size, stage.sampling, context.recipe.seed)
        context.tell_malformed((r.reason for r in responses), stage.policy)
        cases += examined_rollouts(domain, of, responses, Verifier(domain, annotations).examine(of, responses), {})
    cases = distinct(cases)
    if not cases:
        raise UserError(f"stage '{context.name}': no response to a training pair has a step that people judged")
    return cases
