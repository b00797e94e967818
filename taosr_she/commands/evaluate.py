"""`taosr-she evaluate`: how good a model is on labelled pairs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from taosr_she.commands.options import ColumnOption, DeviceOption, DomainOption, LayoutOption, LengthOption, columns
from taosr_she.commands.say import console
from taosr_she.errors import UserError


def evaluate(
    model: Annotated[str, typer.Argument(help="Model folder or hub name.")],
    pairs: Annotated[Path, typer.Argument(help="Labelled pairs.")],
    domain: DomainOption = "taobao",
    annotations: Annotated[Path | None, typer.Option(help="Reference annotations (JSONL) for step metrics.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for results.json and predictions.")] = Path("evaluation"),
    layout: LayoutOption = "auto",
    column: ColumnOption = None,
    device: DeviceOption = "auto",
    max_new_tokens: LengthOption = 128,
) -> None:
    """Measure a model on labelled pairs: metrics with intervals, by class and slice."""
    from taosr_she.data.validate import load_pairs
    from taosr_she.domain.annotation import read_annotations
    from taosr_she.domain.domain import load_domain
    from taosr_she.evaluate.prediction import write_predictions
    from taosr_she.evaluate.results import model_results
    from taosr_she.evaluate.run import predict
    from taosr_she.examine.verifier import Verifier
    from taosr_she.model.policy import load_policy
    from taosr_she.recipe.plan import write_json
    from taosr_she.recipe.table import results_table

    screen, shop, quarantine = console(), load_domain(domain), out / "quarantine.jsonl"
    loaded = load_pairs(pairs, shop, layout=layout, columns=columns(column), require_label=True, quarantine=quarantine)
    if not loaded.pairs:
        raise UserError(f"{pairs}: no labelled pair to measure (see {quarantine})")
    verifier = Verifier(shop, read_annotations(annotations) if annotations else [])
    policy = load_policy(model, device, "auto")
    rows, speed = predict(policy, shop, loaded.pairs, verifier, max_new_tokens, batch_rows=256)
    results: dict[str, Any] = {
        "models": {"model": model_results(shop, rows, resamples=1000, seed=0)},
        "codes": list(shop.codes), "step_keys": list(shop.step_keys), "split": pairs.name,
        "pairs": len(rows), "paired": [], "notes": [],
    }  # fmt: skip
    results["models"]["model"]["metrics"]["tokens_per_second"] = round(speed, 1)
    out.mkdir(parents=True, exist_ok=True)
    write_predictions(out / "predictions.jsonl", rows)
    write_json(out / "results.json", results)
    screen.print(results_table(results))
    screen.print(f"wrote {out / 'results.json'} and {out / 'predictions.jsonl'}", highlight=False)
