"""What the commands do: files in, files and a few lines out. `cli` parses, `recipe` runs whole recipes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import track

from taosr_she.data.validate import LoadResult, load_pairs
from taosr_she.data.write import write_pairs
from taosr_she.domain.annotation import read_annotations
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.domain.pair import Pair
from taosr_she.errors import UserError

if TYPE_CHECKING:
    from taosr_she.evaluate.prediction import Prediction

JUDGE_CHUNK = 512
"""Pairs judged between two updates of the progress bar."""


def validate_file(
    console: Console, path: Path, domain: str, layout: str, columns: dict[str, str] | None, quarantine: Path | None,
    require_label: bool,
) -> None:  # fmt: skip
    """Print how many rows come through and why others do not; rejected rows go to the quarantine file."""
    target = quarantine or path.with_name(f"{path.name}.quarantine.jsonl")
    loaded = load_pairs(
        path, load_domain(domain), layout=layout, columns=columns, require_label=require_label, quarantine=target
    )
    _say_loaded(console, path, loaded, target)


def convert_file(
    console: Console, path: Path, out: Path, domain: str, layout: str, columns: dict[str, str] | None
) -> None:
    """Write the pairs of a file in the plain layout, in the format of the output's ending."""
    target = out.with_name(f"{out.name}.quarantine.jsonl")
    loaded = load_pairs(path, load_domain(domain), layout=layout, columns=columns, quarantine=target)
    write_pairs(out, loaded.pairs)
    _say_loaded(console, path, loaded, target)
    console.print(f"wrote {out}", highlight=False)


def write_market(console: Console, out: Path, seed: int, overrides: Sequence[str]) -> None:
    """Generate a market into a folder."""
    from taosr_she.data.market.market import SPLITS, generate_market
    from taosr_she.recipe.config import load_recipe
    from taosr_she.recipe.context import DataFolder

    recipe = load_recipe("demo", [f"stages.data.market.{o}" for o in overrides])
    config = recipe.stages["data"].market  # type: ignore[union-attr]
    market = generate_market(config, seed)
    out.mkdir(parents=True, exist_ok=True)
    truth = [annotation for split in SPLITS for annotation in market.truth(split)]
    counts = DataFolder(out).write(market.pairs, market.demonstrations, market.annotations, market.held_out, truth)
    console.print(f"{out}: " + ", ".join(f"{value} {key}" for key, value in counts.items()), highlight=False)


def evaluate_model(
    console: Console, model: str, path: Path, domain_name: str, annotations: Path | None, out: Path, layout: str,
    columns: dict[str, str] | None, device: str, max_new_tokens: int,
) -> None:  # fmt: skip
    """Measure a model on labelled pairs; writes `results.json` and `predictions.jsonl`, prints the table."""
    from taosr_she.evaluate.prediction import write_predictions
    from taosr_she.evaluate.results import model_results
    from taosr_she.evaluate.run import predict
    from taosr_she.examine.verifier import Verifier
    from taosr_she.model.policy import load_policy
    from taosr_she.recipe.plan import write_json
    from taosr_she.recipe.table import results_table

    domain = load_domain(domain_name)
    loaded = load_pairs(
        path, domain, layout=layout, columns=columns, require_label=True, quarantine=out / "quarantine.jsonl"
    )
    if not loaded.pairs:
        raise UserError(f"{path}: no labelled pair to measure (see {out / 'quarantine.jsonl'})")
    verifier = Verifier(domain, read_annotations(annotations) if annotations else [])
    policy = load_policy(model, device, "auto")
    rows, speed = predict(policy, domain, loaded.pairs, verifier, max_new_tokens, batch_rows=256)
    results: dict[str, Any] = {
        "models": {"model": model_results(domain, rows, resamples=1000, seed=0)},
        "codes": list(domain.codes), "step_keys": list(domain.step_keys), "split": path.name,
        "pairs": len(rows), "paired": [], "notes": [],
    }  # fmt: skip
    results["models"]["model"]["metrics"]["tokens_per_second"] = round(speed, 1)
    out.mkdir(parents=True, exist_ok=True)
    write_predictions(out / "predictions.jsonl", rows)
    write_json(out / "results.json", results)
    console.print(results_table(results))
    console.print(f"wrote {out / 'results.json'} and {out / 'predictions.jsonl'}", highlight=False)


def judge_pairs(
    console: Console, model: str, path: Path, out: Path, domain_name: str, layout: str,
    columns: dict[str, str] | None, device: str, max_new_tokens: int,
) -> None:  # fmt: skip
    """Score pairs: the pairs as they came, with columns for the predicted grade, the probability of every grade, the
    text of every step, and why a response is malformed."""
    from taosr_she.evaluate.run import predict
    from taosr_she.examine.verifier import Verifier
    from taosr_she.model.policy import load_policy

    domain = load_domain(domain_name)
    quarantine = out.with_name(f"{out.name}.quarantine.jsonl")
    loaded = load_pairs(path, domain, layout=layout, columns=columns, quarantine=quarantine)
    policy = load_policy(model, device, "auto")
    nobody = Verifier(domain, [])
    judged: list[Pair] = []
    chunks = [loaded.pairs[i : i + JUDGE_CHUNK] for i in range(0, len(loaded.pairs), JUDGE_CHUNK)]
    for chunk in track(chunks, description="judging", console=console, disable=not console.is_terminal):
        predictions, _ = predict(policy, domain, chunk, nobody, max_new_tokens, batch_rows=256)
        judged += [_judged(domain, pair, p) for pair, p in zip(chunk, predictions, strict=True)]
    write_pairs(out, judged)
    _say_loaded(console, path, loaded, quarantine)
    malformed = sum(pair.extra["malformed"] is not None for pair in judged)
    console.print(f"wrote {len(judged)} judgements to {out} ({malformed} malformed responses)", highlight=False)


def _judged(domain: Domain, pair: Pair, prediction: "Prediction") -> Pair:
    probabilities = prediction.probs or (None,) * len(domain.codes)
    columns = {
        "predicted": prediction.predicted,
        **{f"p_{code}": p for code, p in zip(domain.codes, probabilities, strict=True)},
        **{f"step_{key}": text for key, text in zip(domain.step_keys, prediction.steps, strict=True)},
        "malformed": prediction.reason,
    }
    return replace(pair, extra={**pair.extra, **columns})


def _say_loaded(console: Console, path: Path, loaded: LoadResult, quarantine: Path) -> None:
    total = len(loaded.pairs) + len(loaded.rejected)
    console.print(f"{path}: {len(loaded.pairs)} of {total} rows come through", highlight=False)
    for reason, count in sorted(loaded.counts.items(), key=lambda item: -item[1]):
        console.print(f"  {count:>6}  {reason}", highlight=False)
    if loaded.rejected:
        console.print(f"rejected rows with reasons: {quarantine}", highlight=False)
