"""The generative judge (GSRM): trained on what people said of the training split, measured on what others said."""

from typing import Any

import numpy as np

from taosr_she.base.errors import UserError
from taosr_she.base.files import write_json
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import Response
from taosr_she.evaluate.judging import (
    always_correct,
    fit_scalar_control,
    judging_intervals,
    judging_metrics,
    reliability,
    scalar_control,
)
from taosr_she.examine.gsrm import GSRM, compared_steps
from taosr_she.examine.gsrm_data import (
    Judged,
    clean_demonstrations,
    clean_references,
    corrupt_to_balance,
    judge_examples,
    judged_rollouts,
    right_conclusions,
    shares_wrong,
)
from taosr_she.examine.scalar import ScalarExaminer
from taosr_she.examine.verifier import Verifier
from taosr_she.model.policy import Policy
from taosr_she.model.responses import sample_responses
from taosr_she.recipe.context import Context, DataFolder
from taosr_she.recipe.kinds import JudgeStage
from taosr_she.train.trl.sft import train_sft

SAMPLE_ROWS = 512
REPORT = "judge.json"
"""What the report and the bar read: metrics of the judge and of its controls on held-out people."""


def run(context: Context, stage: JudgeStage) -> dict[str, Any]:
    """Train the judge, then write `judge.json`."""
    data, domain, seed = context.data(stage.data), context.domain, context.recipe.seed
    policy = context.policy(stage.start)
    judged = training_set(context, stage, data, policy)
    examples = judge_examples(policy, domain, judged, stage.gsrm)
    update = context.progress.stage(context.name, stage.settings.total_steps(len(examples)))
    judge_policy = train_sft(
        context.policy(stage.start),
        examples, stage.settings, seed, context.folder,
        lambda row: update(int(row["step"]), f"loss {row['loss']:.3f}"),
    )  # fmt: skip
    judge = GSRM(judge_policy, domain, stage.gsrm, seed)
    judge.save_config(context.checkpoint(context.name))
    report = measure(context, stage, data, policy, judge)
    report["training"] = {
        "judged": len(judged), "examples": len(examples), "rollouts": sum(j.kind == "rollout" for j in judged),
        "shares_wrong": shares_wrong(domain, judged),
    }  # fmt: skip
    write_json(context.folder / REPORT, report)
    own = report["examiners"]["judge"]["metrics"]
    return {"examples": len(examples), "first_error_f1": own["first_error_f1"], "accuracy": own["accuracy"]}


def training_set(context: Context, stage: JudgeStage, data: DataFolder, policy: Policy) -> list[Judged]:
    """Right reasonings; where steps are read, also rollouts with people's verdicts, and corrupted responses."""
    domain, seed, annotations = context.domain, context.recipe.seed, data.annotations()
    said = {a.pair_id for a in annotations}
    pairs = [p for p in data.pairs("training") if p.pair_id in said]
    if not pairs:
        raise UserError(
            f"stage '{context.name}': nobody annotated a pair of the training split: a judge needs some to learn from"
        )
    right = right_conclusions(domain, pairs, annotations)
    references = clean_references(domain, pairs, right)
    if all(compared_steps(domain, stage.gsrm)):
        if not references:
            raise UserError(f"stage '{context.name}': people said of no pair what every step should conclude")
        return references
    sampled, responses, _ = sample_responses(policy, domain, pairs, stage.group_size, stage.sampling, seed, SAMPLE_ROWS)
    context.tell_malformed((r.reason for r in responses), stage.start)
    verdicts = Verifier(domain, annotations).examine(sampled, responses)
    rollouts = judged_rollouts(domain, sampled, responses, verdicts, right)
    corrupted = corrupt_to_balance(domain, references, rollouts, stage.corrupted, seed)
    teacher = clean_demonstrations(domain, data.pairs("demonstration"), data.demonstrations())
    compared = corrupt_to_balance(domain, teacher, [], stage.corrupted_demonstrations, seed)
    if not rollouts and not corrupted:
        raise UserError(f"stage '{context.name}': no annotated step to learn from: the judge needs closed steps")
    return rollouts + corrupted + compared


def measure(context: Context, stage: JudgeStage, data: DataFolder, policy: Policy, judge: GSRM) -> dict[str, Any]:
    """The judge and its controls on rollouts of the start policy to the pairs that held-out people annotated."""
    domain, keys = context.domain, context.domain.step_keys
    held_out = data.held_out()
    said = {a.pair_id for a in held_out}
    pairs = [p for p in data.pairs("development") if p.pair_id in said]
    if not pairs:
        raise UserError(
            f"stage '{context.name}': nobody annotated a pair of the development split: a judge that nobody can check "
            "is not used"
        )
    sampled, responses, _ = sample_responses(
        policy, domain, pairs, stage.report_group_size, stage.sampling, context.recipe.seed + 1, SAMPLE_ROWS
    )
    context.tell_malformed((r.reason for r in responses), stage.start)
    truth = Verifier(domain, held_out).examine(sampled, responses).values
    examiners = {"judge": judge.examine(sampled, responses).values, "always_correct": always_correct(truth)}
    notes = []
    if stage.scalar:
        try:
            examiners["scalar"] = _scalar(context, stage, data, policy, sampled, responses)
        except UserError as error:  # a control that cannot be fitted is told, and does not cost the judge
            notes.append(f"The scalar control is left out: {error}.")
            context.progress.say(f"{context.name}: {notes[-1]}")
    ids = [p.pair_id for p in sampled]
    return {
        "step_keys": list(keys), "pairs": len(pairs), "responses": len(responses), "notes": notes,
        "examiners": {
            name: {
                "metrics": judging_metrics(keys, truth, values),
                "intervals": judging_intervals(keys, truth, values, ids, stage.resamples, context.recipe.seed),
                "reliability": reliability(truth, values),
            }
            for name, values in examiners.items()
        },
    }  # fmt: skip


def _scalar(
    context: Context,
    stage: JudgeStage,
    data: DataFolder,
    policy: Policy,
    sampled: list[Pair],
    responses: list[Response],
) -> np.ndarray:
    """The scalar model as a judge of steps; its threshold is chosen on the training split."""
    assert stage.scalar is not None
    domain, annotations = context.domain, data.annotations()
    examiner = ScalarExaminer(context.checkpoint(stage.scalar), domain, context.recipe.device)
    said = {a.pair_id for a in annotations}
    known = [p for p in data.pairs("training") if p.pair_id in said]
    fit_pairs, fit_responses, _ = sample_responses(
        policy, domain, known, stage.group_size, stage.sampling, context.recipe.seed, SAMPLE_ROWS
    )
    truth = Verifier(domain, annotations).examine(fit_pairs, fit_responses).values
    threshold, step = fit_scalar_control(domain.step_keys, examiner.scores(fit_pairs, fit_responses), truth)
    return scalar_control(examiner.scores(sampled, responses), threshold, step, len(domain.steps))
