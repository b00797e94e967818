"""`taosr-she evaluate`: measure a model on labelled pairs."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taosr_she.base.errors import UserError
from taosr_she.base.terminal import terminal
from taosr_she.commands.checks import check_folder, not_an_input
from taosr_she.commands.options import (
    AsWrittenOption,
    ColumnOption,
    DeviceOption,
    EncodingOption,
    ForceDomainOption,
    LayoutOption,
    LengthOption,
    ModelDomainOption,
    columns,
)
from taosr_she.commands.paths import path_argument, path_option
from taosr_she.commands.say import said_when_stopped, say_loaded

if TYPE_CHECKING:
    from taosr_she.evaluate.prediction import Prediction


def evaluate(
    model: Annotated[str, typer.Argument(help="Model: a folder, a name from docs/models.md, or a hub name.")],
    pairs: Annotated[Path, path_argument("Labelled pairs.")],
    domain: ModelDomainOption = None,
    force_domain: ForceDomainOption = False,
    annotations: Annotated[Path | None, path_option("Reference annotations (JSONL) for step metrics.")] = None,
    out: Annotated[Path, path_option("Folder for results.json and predictions.")] = Path("evaluation"),
    layout: LayoutOption = "auto",
    column: ColumnOption = None,
    device: DeviceOption = "auto",
    max_new_tokens: LengthOption = 128,
    encoding: EncodingOption = None,
    as_written: AsWrittenOption = False,
    mode: Annotated[
        str, typer.Option("--mode", help="reason, or label: the label distribution alone, without a response.")
    ] = "reason",
) -> None:
    """Measure a model on labelled pairs: metrics with intervals, per class and slice."""
    from taosr_she.data.validate import load_pairs
    from taosr_she.domain.annotation import read_annotations
    from taosr_she.domain.malformed import malformed_warning
    from taosr_she.judge.decision import WRITTEN, saved_decision
    from taosr_she.judge.mode import check_mode
    from taosr_she.model.domain_file import choose_domain

    mapped, quarantine = columns(column), out / "quarantine.jsonl"
    check_folder("--out", out)
    for written in ("quarantine.jsonl", "predictions.jsonl", "results.json"):
        not_an_input("--out", out / written, pairs, *([annotations] if annotations else []))
    screen, shop = terminal(), choose_domain(domain, model, force_domain)
    way = check_mode(shop, mode)
    references = read_annotations(annotations) if annotations else []
    loaded = load_pairs(
        pairs, shop, layout=layout, columns=mapped, require_label=True, quarantine=quarantine, encoding=encoding
    )
    say_loaded(screen, pairs, loaded.tally, quarantine)
    if not loaded.pairs:
        raise UserError(f"{pairs}: no usable labelled pair (see {quarantine})")
    decision = WRITTEN if as_written else saved_decision(model, shop)
    how = "" if decision == WRITTEN else f", decision rule {decision.name}"
    how += ", mode label" if way == "label" else ""
    screen.print(f"measuring {model} on {len(loaded.pairs)} pairs, domain '{shop.name}'{how}", soft_wrap=True)

    from taosr_she.base.files import write_json
    from taosr_she.evaluate.people import human_ceiling
    from taosr_she.evaluate.prediction import write_predictions
    from taosr_she.evaluate.results import model_results, true_labels
    from taosr_she.evaluate.run import predict_in_parts
    from taosr_she.evaluate.tiers import tier_results, with_tiers
    from taosr_she.examine.verifier import Verifier
    from taosr_she.model.policy import load_policy
    from taosr_she.recipe.progress import Progress
    from taosr_she.recipe.table import results_table

    rows: list[Prediction] = []
    with said_when_stopped(lambda: f"{len(rows)} of {len(loaded.pairs)} pairs were judged, but nothing is kept; "
                           "run the same command again to start over"), Progress(screen) as progress:  # fmt: skip
        policy = load_policy(model, device, "auto")
        update, started = progress.stage("judging", len(loaded.pairs)), time.perf_counter()
        truth = Verifier(shop, references)
        for part in predict_in_parts(policy, shop, loaded.pairs, truth, max_new_tokens, decision, way):
            rows += part
            update(len(rows), f"{sum(row.reason is not None for row in rows)} malformed")
        seconds = time.perf_counter() - started
        progress.say("computing metrics and intervals")
        tiers = tier_results(shop, rows, decision, resamples=1000, seed=0)
        results: dict[str, Any] = {
            "models": {"model": with_tiers(model_results(shop, rows, resamples=1000, seed=0), tiers)},
            "codes": list(shop.codes), "step_keys": list(shop.step_keys), "split": pairs.name,
            "pairs": len(rows), "paired": [], "notes": [],
            "labels_true": true_labels(shop, rows), "people": human_ceiling(shop, loaded.pairs, 1000, 0),
        }  # fmt: skip
    results["models"]["model"]["metrics"]["tokens_per_second"] = round(sum(row.tokens for row in rows) / seconds, 1)
    results["models"]["model"]["metrics"]["pairs_per_second"] = round(len(rows) / seconds, 1)
    results["models"]["model"]["decision"] = decision.name
    out.mkdir(parents=True, exist_ok=True)
    write_predictions(out / "predictions.jsonl", rows)
    write_json(out / "results.json", results)
    screen.print(results_table(results))
    if warning := malformed_warning(row.reason for row in rows):
        screen.print(warning, soft_wrap=True)
    screen.print(f"wrote {out / 'results.json'} and {out / 'predictions.jsonl'}", soft_wrap=True)
