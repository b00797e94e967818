"""What the commands do: files in, files and a few lines out. `cli` parses, `recipe` runs whole recipes."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import track

from taosr_she.data.validate import RESPONSE, LoadResult, load_pairs
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


def examine_file(
    console: Console, path: Path, out: Path, domain_name: str, annotations: str | None, judge: Path | None,
    endpoint: tuple[str, str] | None, mode: str, layout: str, columns: dict[str, str] | None, device: str,
) -> None:  # fmt: skip
    """Examine responses: the rows as they came, with a verdict, its source and the judge's critique for every step."""
    from taosr_she.domain.response import parse_response
    from taosr_she.examine.gsrm import GSRM
    from taosr_she.examine.gsrm_endpoint import EndpointJudge, EndpointJudgeConfig
    from taosr_she.examine.hybrid import RIGHT, Hybrid
    from taosr_she.examine.store import open_annotations
    from taosr_she.examine.verdicts import SOURCES
    from taosr_she.examine.verifier import Verifier

    if annotations is None and judge is None and endpoint is None:
        raise UserError("nobody is there to examine: give --annotations, --judge or --endpoint with --endpoint-model")
    domain = load_domain(domain_name)
    quarantine = out.with_name(f"{out.name}.quarantine.jsonl")
    loaded = load_pairs(path, domain, layout=layout, columns=columns, quarantine=quarantine, responses=True)
    asked: GSRM | EndpointJudge | None = None
    if judge is not None:
        asked = GSRM.load(judge, domain, device)
    elif endpoint is not None:
        config = EndpointJudgeConfig(base_url=endpoint[0], model=endpoint[1])
        asked = EndpointJudge(config, domain, out.with_name(f"{out.name}.judge-answers.jsonl"))
    verifier = Verifier(domain, open_annotations(annotations) if annotations else [])
    hybrid = Hybrid(verifier, asked, mode)  # type: ignore[arg-type] # Hybrid checks it
    examined: list[Pair] = []
    sources: Counter[str] = Counter()
    chunks = [loaded.pairs[i : i + JUDGE_CHUNK] for i in range(0, len(loaded.pairs), JUDGE_CHUNK)]
    for chunk in track(chunks, description="examining", console=console, disable=not console.is_terminal):
        responses = [parse_response(domain, pair.extra[RESPONSE]) for pair in chunk]
        verdicts = hybrid.examine(chunk, responses)
        # What was judged is remembered, so critiques cost a reasoning only for pairs that people had decided alone.
        critiques = asked.examine_with_critiques(chunk, responses).critiques if asked and mode != "human_only" else None
        for b, pair in enumerate(chunk):
            said = [SOURCES[code] for code in verdicts.sources[b]]
            sources.update(said)
            values = verdicts.values[b].tolist()
            found = _examined(domain, values, said, critiques[b] if critiques else None)
            first = next((k for k, v in zip(domain.step_keys, values, strict=True) if v < RIGHT), None)  # NaN is not
            examined.append(replace(pair, extra={**pair.extra, **found, "first_error": first}))
    write_pairs(out, examined)
    _say_loaded(console, path, loaded, quarantine)
    by_whom = ", ".join(f"{source} {count}" for source, count in sources.most_common())
    console.print(f"wrote {len(examined)} examined responses to {out}; steps by source: {by_whom}", highlight=False)


def _examined(
    domain: Domain, values: list[float], sources: list[str], critiques: tuple[str | None, ...] | None
) -> dict[str, Any]:
    known = [None if math.isnan(v) else round(v, 4) for v in values]
    columns: dict[str, Any] = {f"verdict_{key}": v for key, v in zip(domain.step_keys, known, strict=True)}
    columns |= {f"source_{key}": source for key, source in zip(domain.step_keys, sources, strict=True)}
    if critiques is not None:
        columns |= {f"critique_{key}": text for key, text in zip(domain.step_keys, critiques, strict=True)}
    return columns


def _judged(domain: Domain, pair: Pair, prediction: "Prediction") -> Pair:
    probabilities = prediction.probs or (None,) * len(domain.codes)
    columns = {
        "predicted": prediction.predicted,
        **{f"p_{code}": p for code, p in zip(domain.codes, probabilities, strict=True)},
        **{f"step_{key}": text for key, text in zip(domain.step_keys, prediction.steps, strict=True)},
        "response": prediction.response,
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
