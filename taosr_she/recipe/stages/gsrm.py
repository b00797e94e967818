"""The generative stepwise reward model (GSRM): trained on people's verdicts, measured on other people's."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
from pydantic import Field

from taosr_she.base.errors import UserError
from taosr_she.base.files import write_json
from taosr_she.data.demonstration import fitted
from taosr_she.domain.pair import Annotation, Pair
from taosr_she.domain.response import Response
from taosr_she.evaluate.examiners import (
    always_correct,
    examiner_intervals,
    examiner_metrics,
    fit_scalar_control,
    reliability,
    scalar_control,
)
from taosr_she.examine.gsrm_config import GSRMConfig
from taosr_she.examine.gsrm_shown import shown_examples
from taosr_she.examine.verifier import Verifier
from taosr_she.model.sampling import Sampling
from taosr_she.recipe.context import Context
from taosr_she.recipe.data_folder import DataFolder
from taosr_she.recipe.online import answers_of
from taosr_she.recipe.parts import kept_responses
from taosr_she.recipe.stage import Stage
from taosr_she.train.sft.settings import SFTSettings
from taosr_she.train.sft.train import train_sft

if TYPE_CHECKING:
    from taosr_she.examine.gsrm import GSRM
    from taosr_she.examine.gsrm_data import Examined
    from taosr_she.model.policy import Policy

REPORT = "examiners.json"
"""Read by the report and the bar: metrics of the GSRM and of its controls on held-out people."""
VERDICTS = "held_out_verdicts.json"
"""The verdicts that the report is computed from, of people and of every examiner: what a benchmark pools over seeds."""


class GSRMStage(Stage):
    """Train a generative stepwise reward model (GSRM) on annotations, and measure it on those of held-out people."""

    kind: Literal["gsrm"]
    """Name of the kind."""
    offers: ClassVar[str] = "gsrm"
    checkpoint_is: ClassVar[str] = (
        "a generative stepwise reward model: it writes a critique and a verdict for each step of a response"
    )
    renamed: ClassVar[dict[str, str]] = {"scalar": "scalar_reward_model"}
    later: ClassVar[dict[str, Any]] = {"continues": None, "answers": (), "measured_by": "people"}
    start: str = "sft"
    """Name of the stage whose checkpoint the GSRM examines and starts from."""
    continues: str | None = None
    """Name of an earlier `gsrm` stage, whose training is continued: its weights are the start, and `start` is only
    examined."""
    answers: tuple[str, ...] = ()
    """Names of earlier `rl` stages with `examination.online`: what people said during them is added to the
    annotations."""
    data: str = "data"
    """Name of the data stage."""
    group_size: int = Field(default=4, gt=0)
    """If steps are read: number of responses of the start policy to each annotated pair, with its errors."""
    corrupted: int = Field(default=2000, ge=0)
    """If steps are read: number of examples made by named corruptions from conclusions that people gave."""
    corrupted_demonstrations: int = Field(default=8000, ge=0)
    """If steps are read: number of such examples from demonstrations with the right label; they teach to compare."""
    report_group_size: int = Field(default=2, gt=0)
    """Number of responses of the start policy sampled for each pair that held-out people annotated."""
    measured_by: Literal["people", "known"] = "people"
    """Who says what is right on the development pairs: `people` alone, or all that is `known`: people's annotations and
    labels, and a program's references for other steps. For data in which people speak of labels and of little else."""
    sampling: Sampling = Sampling()
    """Length limit and temperature of the responses."""
    gsrm: GSRMConfig = GSRMConfig()
    """How the GSRM examines."""
    settings: SFTSettings = SFTSettings()
    """Settings of the training."""
    scalar_reward_model: str | None = None
    """Name of an earlier `scalar_reward_model` stage, measured together with the GSRM as a control."""
    resamples: int = Field(default=1000, ge=100)
    """Bootstrap resamples (over pairs) of the intervals."""

    def reads(self) -> list[tuple[str, str]]:
        control = [("scalar_reward_model", self.scalar_reward_model)] if self.scalar_reward_model else []
        further = [("gsrm", self.continues)] if self.continues else []
        asked = [("checkpoint", name) for name in self.answers]
        return [("data", self.data), ("checkpoint", self.start), *further, *asked, *control]

    def run(self, context: Context) -> dict[str, Any]:
        """Train the GSRM, then write `examiners.json`."""
        from taosr_she.examine.gsrm import GSRM
        from taosr_she.examine.gsrm_data import gsrm_examples, shares_wrong

        data, domain, seed = context.data(self.data), context.domain, context.recipe.seed
        policy = context.policy(self.start)
        examined = training_set(context, self, data, policy)
        pupil = context.policy(self.continues or self.start)
        examples = gsrm_examples(pupil, domain, examined, self.gsrm)
        update = context.progress.stage(context.name, self.settings.total_steps(len(examples)))
        gsrm_policy = train_sft(
            pupil, examples, self.settings, seed, context.folder,
            lambda row: update(int(row["step"]), f"loss {row['loss']:.3f}"),
        )  # fmt: skip
        gsrm = GSRM(gsrm_policy, domain, self.gsrm, seed)
        gsrm.save_config(context.checkpoint(context.name))
        report = measure(context, self, data, policy, gsrm)
        report["training"] = {
            "examined": len(examined), "examples": len(examples),
            "rollouts": sum(e.kind == "rollout" for e in examined),
            "shares_wrong": shares_wrong(domain, examined),
        }  # fmt: skip
        write_json(context.folder / REPORT, report)
        own = report["examiners"]["gsrm"]["metrics"]
        return {"examples": len(examples), "first_error_f1": own["first_error_f1"], "accuracy": own["accuracy"]}


def training_set(context: Context, stage: GSRMStage, data: DataFolder, policy: "Policy") -> "list[Examined]":
    """Right reasonings; if steps are read, also rollouts with people's verdicts, and corrupted responses."""
    from taosr_she.examine.gsrm import compared_steps
    from taosr_she.examine.gsrm_data import (
        clean_demonstrations,
        clean_references,
        corrupt_to_balance,
        examined_rollouts,
        right_conclusions,
    )

    domain, seed = context.domain, context.recipe.seed
    annotations = data.annotations() + answers_of(context, stage.answers)
    annotated = {a.pair_id for a in annotations}
    pairs = [p for p in data.pairs("training") if p.pair_id in annotated]
    if not pairs:
        raise UserError(
            f"stage '{context.name}': no pair of the training split is annotated: a GSRM needs some to learn from"
        )
    right = right_conclusions(domain, pairs, annotations)
    references = clean_references(domain, pairs, right)
    if all(compared_steps(domain, stage.gsrm)):
        if not references:
            raise UserError(f"stage '{context.name}': no pair has annotations of what every step should conclude")
        return references
    sampled, responses, _ = kept_responses(context, policy, pairs, stage.group_size, stage.sampling, seed)
    context.tell_malformed((r.reason for r in responses), stage.start)
    verdicts = Verifier(domain, annotations).examine(sampled, responses)
    rollouts = examined_rollouts(domain, sampled, responses, verdicts, right)
    corrupted = corrupt_to_balance(domain, references, rollouts, stage.corrupted, seed)
    teacher = clean_demonstrations(domain, data.pairs("demonstration"), fitted(domain, data.demonstrations()))
    compared = corrupt_to_balance(domain, teacher, [], stage.corrupted_demonstrations, seed)
    if not rollouts and not corrupted:
        raise UserError(f"stage '{context.name}': no annotated step to learn from: the GSRM needs closed steps")
    return rollouts + corrupted + compared


class Measured(Protocol):
    """What a stage says about the responses on which its GSRM is measured."""

    @property
    def report_group_size(self) -> int: ...

    @property
    def sampling(self) -> Sampling: ...

    @property
    def resamples(self) -> int: ...


def measure(context: Context, stage: GSRMStage, data: DataFolder, policy: "Policy", gsrm: "GSRM") -> dict[str, Any]:
    """The GSRM and its controls on rollouts of the start policy to the pairs that held-out people annotated."""
    held_out = data.held_out() if stage.measured_by == "people" else data.truth()
    sampled, responses, truth = held_out_responses(context, stage, data, held_out, policy, stage.start)
    said = gsrm.examine_with_critiques(sampled, responses)
    examiners = {"gsrm": said.verdicts.values, "always_correct": always_correct(truth)}
    notes = []
    if stage.scalar_reward_model:
        try:
            examiners["scalar_reward_model"] = _scalar(context, stage, data, policy, sampled, responses)
        except UserError as error:  # a control that cannot be fitted is reported, and does not stop the GSRM
            notes.append(f"The scalar reward model is left out as a control: {error}.")
            context.progress.say(f"{context.name}: {notes[-1]}")
    report = examiners_report(context, stage, sampled, truth, examiners)
    shown = shown_examples(context.domain, sampled, responses, truth, said, context.recipe.seed)
    return report | {"notes": notes, "examples": shown}


def held_out_responses(
    context: Context, stage: Measured, data: DataFolder, held_out: list[Annotation], policy: "Policy", model: str
) -> tuple[list[Pair], list[Response], np.ndarray]:
    """Responses of the policy, which is called `model`, to the development pairs about which the held-out annotations
    speak: pairs (B), responses (B), and what these say of their steps (B, K)."""
    annotated = {a.pair_id for a in held_out}
    pairs = [p for p in data.pairs("development") if p.pair_id in annotated]
    if not pairs:
        raise UserError(
            f"stage '{context.name}': no pair of the development split is annotated: a GSRM that nobody can check "
            "is not used"
        )
    sampled, responses, _ = kept_responses(
        context, policy, pairs, stage.report_group_size, stage.sampling, context.recipe.seed + 1, "development"
    )
    context.tell_malformed((r.reason for r in responses), model)
    return sampled, responses, Verifier(context.domain, held_out).examine(sampled, responses).values


def examiners_report(
    context: Context, stage: Measured, sampled: list[Pair], truth: np.ndarray, examiners: dict[str, np.ndarray]
) -> dict[str, Any]:
    """The content of REPORT: metrics, intervals and calibration of the verdicts (B, K) of every examiner. Writes
    VERDICTS."""
    keys, ids, seed = context.domain.step_keys, [p.pair_id for p in sampled], context.recipe.seed
    said = {name: values.tolist() for name, values in examiners.items()}
    write_json(context.folder / VERDICTS, {"pair_ids": ids, "people": truth.tolist(), "examiners": said})
    return {
        "step_keys": list(keys), "pairs": len(set(ids)), "responses": len(ids), "notes": [],
        "examiners": {
            name: {
                "metrics": examiner_metrics(keys, truth, values),
                "intervals": examiner_intervals(keys, truth, values, ids, stage.resamples, seed),
                "reliability": reliability(truth, values),
            }
            for name, values in examiners.items()
        },
    }  # fmt: skip


def _scalar(
    context: Context,
    stage: GSRMStage,
    data: DataFolder,
    policy: "Policy",
    sampled: list[Pair],
    responses: list[Response],
) -> np.ndarray:
    """The scalar reward model used as an examiner of steps; its threshold is chosen on the training split."""
    from taosr_she.examine.scalar import ScalarExaminer

    assert stage.scalar_reward_model is not None
    domain, annotations = context.domain, data.annotations()
    examiner = ScalarExaminer(context.checkpoint(stage.scalar_reward_model), domain, context.recipe.device)
    annotated = {a.pair_id for a in annotations}
    known = [p for p in data.pairs("training") if p.pair_id in annotated]
    fit_pairs, fit_responses, _ = kept_responses(
        context, policy, known, stage.group_size, stage.sampling, context.recipe.seed, "fit"
    )
    truth = Verifier(domain, annotations).examine(fit_pairs, fit_responses).values
    threshold, step = fit_scalar_control(domain.step_keys, examiner.scores(fit_pairs, fit_responses), truth)
    return scalar_control(examiner.scores(sampled, responses), threshold, step, len(domain.steps))
