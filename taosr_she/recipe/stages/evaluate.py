"""Measure models and baselines on a split, with intervals, slices and paired comparisons."""

from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.base.files import write_json
from taosr_she.evaluate.baselines import majority_baseline, tfidf_baseline
from taosr_she.evaluate.prediction import Prediction, write_predictions
from taosr_she.evaluate.results import comparisons, model_results
from taosr_she.evaluate.robustness import PROBES, disturbed, robustness
from taosr_she.evaluate.run import predict
from taosr_she.examine.verifier import Verifier
from taosr_she.recipe.context import Context
from taosr_she.recipe.kinds import EvaluateStage
from taosr_she.train.rl.state import metrics_rows

BASELINES = {"majority": majority_baseline, "tfidf": tfidf_baseline}


def run(context: Context, stage: EvaluateStage) -> dict[str, Any]:
    """Write `results.json` and one file of predictions a model."""
    data, domain, seed = context.data(stage.data), context.domain, context.recipe.seed
    pairs = data.pairs(stage.split)
    if not pairs:
        raise UserError(f"stage '{context.name}': the {stage.split} split of '{stage.data}' is empty")
    verifier = Verifier(domain, data.truth())
    predictions: dict[str, list[Prediction]] = {}
    probed: dict[str, dict[str, list[Prediction]]] = {}
    speed: dict[str, float] = {}
    for baseline in stage.baselines:
        context.progress.say(f"{context.name}: {baseline} is fitted on the training split")
        predictions[baseline] = BASELINES[baseline](domain, data.pairs("training"), pairs, seed)
    update = context.progress.stage(context.name, len(stage.models))
    for done, name in enumerate(stage.models, start=1):
        context.progress.say(f"{context.name}: {name} answers {len(pairs)} pairs")
        policy = context.policy(name, "auto")
        predictions[name], speed[name] = predict(
            policy, domain, pairs, verifier, stage.max_new_tokens, stage.batch_rows
        )
        context.tell_malformed((p.reason for p in predictions[name]), name)
        probed[name] = {
            probe: predict(
                policy, domain, disturbed(probe, domain, pairs[: stage.robustness_pairs], seed), verifier,
                stage.max_new_tokens, stage.batch_rows,
            )[0]
            for probe in (PROBES if stage.robustness_pairs else ())
        }  # fmt: skip
        update(done, name)
    context.progress.say(f"{context.name}: metrics and their intervals, {stage.resamples} resamples")
    results: dict[str, Any] = {
        "models": {},
        "codes": list(domain.codes),
        "step_keys": list(domain.step_keys),
        "split": stage.split,
        "pairs": len(pairs),
        "notes": list(context.recipe.notes),
    }
    for name, rows in predictions.items():
        write_predictions(context.folder / f"predictions-{name}.jsonl", rows)
        results["models"][name] = model_results(domain, rows, stage.resamples, seed)
        for probe, answers in probed.get(name, {}).items():
            write_predictions(context.folder / f"predictions-{name}-{probe}.jsonl", answers)
        if probed.get(name):
            results["models"][name]["robustness"] = robustness(domain, rows, probed[name])
        if name in speed:
            results["models"][name]["metrics"]["tokens_per_second"] = round(speed[name], 1)
            results["models"][name]["metrics"]["training_tokens_per_second"] = training_speed(context.stages / name)
    names = list(stage.models)
    chosen = list(stage.compare) or list(pairwise(names))
    results["paired"] = comparisons(domain, predictions, chosen, stage.resamples, seed)
    write_json(context.folder / "results.json", results)
    return {name: results["models"][name]["metrics"]["macro_f1"] for name in predictions}


def training_speed(stage: Path) -> float | None:
    """Median tokens a second of the updates of a training stage, sampling to weights; None where it samples nothing."""
    rows = metrics_rows(stage / "metrics.jsonl")
    speeds = [row["tokens_per_second"] for row in rows if "tokens_per_second" in row]
    return round(median(speeds), 1) if speeds else None
