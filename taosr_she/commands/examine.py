"""`taosr-she examine`: a verdict on every step of responses."""

import math
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import track

from taosr_she.commands.options import ColumnOption, DeviceOption, DomainOption, LayoutOption, columns
from taosr_she.commands.say import console, say_loaded
from taosr_she.errors import UserError

if TYPE_CHECKING:
    from taosr_she.domain.domain import Domain
    from taosr_she.domain.pair import Pair
    from taosr_she.examine.gsrm_endpoint import EndpointJudge

CHUNK = 512
"""Responses examined between two updates of the progress."""


def examine(
    responses: Annotated[Path, typer.Argument(help="Responses: a pair and a column `response` in each row.")],
    out: Annotated[Path, typer.Option(help="Output: .jsonl, .csv, .tsv or .parquet.")] = Path("examined.jsonl"),
    domain: DomainOption = "taobao",
    annotations: Annotated[
        str | None, typer.Option(help="What people said: JSONL, a SQLite file (.db), or a database URL.")
    ] = None,
    judge: Annotated[Path | None, typer.Option(help="Checkpoint folder of a judge stage.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Judge behind an OpenAI-compatible endpoint: its URL.")] = None,
    endpoint_model: Annotated[str | None, typer.Option(help="Name of the model there.")] = None,
    api_key_env: Annotated[
        str, typer.Option(help="Environment variable with the endpoint's key. Left out or empty: no key is sent.")
    ] = "",
    mode: Annotated[
        str | None, typer.Option(help="human_first, judge_only, human_only, agree. Default: as there are examiners.")
    ] = None,
    layout: LayoutOption = "auto",
    column: ColumnOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Examine the steps of responses: verdicts, who gave them, and the judge's critiques."""
    from taosr_she.data.validate import RESPONSE, load_pairs
    from taosr_she.data.write import write_pairs
    from taosr_she.domain.domain import load_domain
    from taosr_she.domain.response import parse_response
    from taosr_she.examine.gsrm import GSRM
    from taosr_she.examine.gsrm_endpoint import EndpointJudge
    from taosr_she.examine.hybrid import RIGHT, Hybrid
    from taosr_she.examine.store import open_annotations
    from taosr_she.examine.verdicts import SOURCES
    from taosr_she.examine.verifier import Verifier
    from taosr_she.recipe.progress import Progress

    if (endpoint is None) != (endpoint_model is None) or (endpoint and judge):
        raise UserError("give --judge, or --endpoint together with --endpoint-model")
    if api_key_env and endpoint is None:
        raise UserError("--api-key-env names the key of an endpoint: give --endpoint, too")
    if annotations is None and judge is None and endpoint is None:
        raise UserError("nobody is there to examine: give --annotations, --judge or --endpoint with --endpoint-model")
    chosen = mode or ("human_only" if judge is None and endpoint is None else "human_first")
    screen, shop, quarantine = console(), load_domain(domain), out.with_name(f"{out.name}.quarantine.jsonl")
    loaded = load_pairs(responses, shop, layout=layout, columns=columns(column), quarantine=quarantine, responses=True)
    asked: GSRM | EndpointJudge | None = None
    if judge is not None:
        asked = GSRM.load(judge, shop, device)
    elif endpoint is not None and endpoint_model is not None:
        asked = _endpoint(endpoint, endpoint_model, api_key_env, shop, out)
    verifier = Verifier(shop, open_annotations(annotations) if annotations else [])
    hybrid = Hybrid(verifier, asked, chosen)  # type: ignore[arg-type] # Hybrid checks it
    examined: list[Pair] = []
    sources: Counter[str] = Counter()
    chunks = [loaded.pairs[i : i + CHUNK] for i in range(0, len(loaded.pairs), CHUNK)]
    with ExitStack() as stack:
        if isinstance(asked, EndpointJudge):  # it says how far it is, question by question
            asked.progress = partial(stack.enter_context(Progress(screen)).stage, "endpoint")
        for chunk in track(
            chunks, description="examining", console=screen, disable=endpoint is not None or not screen.is_terminal
        ):
            parsed = [parse_response(shop, pair.extra[RESPONSE]) for pair in chunk]
            verdicts = hybrid.examine(chunk, parsed)
            # What was judged is remembered, so critiques cost a reasoning only for pairs that people had decided alone.
            critiques = (
                asked.examine_with_critiques(chunk, parsed).critiques if asked and chosen != "human_only" else None
            )
            for b, pair in enumerate(chunk):
                said = [SOURCES[code] for code in verdicts.sources[b]]
                sources.update(said)
                values = verdicts.values[b].tolist()
                found = _examined(shop, values, said, critiques[b] if critiques else None)
                first = next((k for k, v in zip(shop.step_keys, values, strict=True) if v < RIGHT), None)  # NaN is not
                examined.append(replace(pair, extra={**pair.extra, **found, "first_error": first}))
    write_pairs(out, examined)
    say_loaded(screen, responses, loaded, quarantine)
    by_whom = ", ".join(f"{source} {count}" for source, count in sources.most_common())
    screen.print(f"wrote {len(examined)} examined responses to {out}; steps by source: {by_whom}", highlight=False)
    if isinstance(asked, EndpointJudge):
        questions, usable, account = asked.account()
        screen.print(f"endpoint: {account}", highlight=False, markup=False)
        asked.close()
        if questions and not usable:
            raise UserError(f"the endpoint gave no usable answer, so its steps in {out} are unknown: {account}")


def _endpoint(url: str, model: str, api_key_env: str, domain: "Domain", out: Path) -> "EndpointJudge":
    from pydantic import ValidationError

    from taosr_she.examine.gsrm_endpoint import EndpointJudge, EndpointJudgeConfig
    from taosr_she.recipe.config import describe

    try:
        config = EndpointJudgeConfig(base_url=url, model=model, api_key_env=api_key_env)
    except ValidationError as error:
        options = {"base_url": "--endpoint", "model": "--endpoint-model", "api_key_env": "--api-key-env"}
        name, _, problem = describe(error).partition(": ")
        raise UserError(f"{options.get(name, name)}: {problem}") from error
    return EndpointJudge(config, domain, out.with_name(f"{out.name}.judge-answers.jsonl"))


def _examined(
    domain: "Domain", values: list[float], sources: list[str], critiques: tuple[str | None, ...] | None
) -> dict[str, Any]:
    known = [None if math.isnan(v) else round(v, 4) for v in values]
    found: dict[str, Any] = {f"verdict_{key}": v for key, v in zip(domain.step_keys, known, strict=True)}
    found |= {f"source_{key}": source for key, source in zip(domain.step_keys, sources, strict=True)}
    if critiques is not None:
        found |= {f"critique_{key}": text for key, text in zip(domain.step_keys, critiques, strict=True)}
    return found
