"""`taosr-she examine`: a verdict on every step of responses."""

import math
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from taosr_she.base.errors import UserError
from taosr_she.base.terminal import terminal
from taosr_she.commands.checks import check_file, not_an_input, quarantine_of
from taosr_she.commands.options import (
    ColumnOption,
    DefuseOption,
    DeviceOption,
    EncodingOption,
    ForceDomainOption,
    LayoutOption,
    ModelDomainOption,
    columns,
)
from taosr_she.commands.paths import path_argument, path_option
from taosr_she.commands.say import said_when_stopped, say_loaded

if TYPE_CHECKING:
    from taosr_she.domain.domain import Domain
    from taosr_she.domain.pair import Pair
    from taosr_she.examine.gsrm_endpoint import EndpointGSRMConfig

CHUNK = 64
"""Responses examined between two lines of the progress."""


def examine(
    responses: Annotated[Path, path_argument("Responses: a pair and a column `response` in each row.")],
    out: Annotated[Path, path_option("Output: .jsonl, .csv, .tsv or .parquet.")] = Path("examined.jsonl"),
    domain: ModelDomainOption = None,
    force_domain: ForceDomainOption = False,
    annotations: Annotated[
        str | None, typer.Option(help="Annotations by people: JSONL, a SQLite file (.db), or a database URL.")
    ] = None,
    gsrm: Annotated[Path | None, path_option("Checkpoint folder of a GSRM stage.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="GSRM behind an OpenAI-compatible endpoint: its URL.")] = None,
    endpoint_model: Annotated[str | None, typer.Option(help="Name of the model at the endpoint.")] = None,
    api_key_env: Annotated[
        str, typer.Option(help="Environment variable with the endpoint's key. Left out or empty: no key is sent.")
    ] = "",
    mode: Annotated[
        str | None, typer.Option(help="human_first, gsrm_only, human_only or agree. Default: as the options allow.")
    ] = None,
    layout: LayoutOption = "auto",
    column: ColumnOption = None,
    device: DeviceOption = "auto",
    encoding: EncodingOption = None,
    defuse: DefuseOption = False,
) -> None:
    """Examine the steps of responses: verdicts, their sources, and the GSRM's critiques.

    Without --gsrm, the domain is taobao unless --domain names another.
    """
    from taosr_she.data.validate import RESPONSE, load_pairs
    from taosr_she.data.write import write_pairs
    from taosr_she.domain.domain import load_domain
    from taosr_she.domain.malformed import malformed_warning
    from taosr_she.domain.response import parse_response
    from taosr_she.examine.hybrid import RIGHT, Hybrid, Mode
    from taosr_she.model.domain_file import choose_domain

    if (endpoint is None) != (endpoint_model is None) or (endpoint and gsrm):
        raise UserError("give --gsrm, or --endpoint together with --endpoint-model")
    if api_key_env and endpoint is None:
        raise UserError("--api-key-env names the key of an endpoint: give --endpoint, too")
    if annotations is None and gsrm is None and endpoint is None:
        raise UserError("there is no examiner: give --annotations, --gsrm or --endpoint with --endpoint-model")
    asks = gsrm is not None or endpoint is not None
    chosen = mode or ("human_first" if asks else "human_only")
    if chosen not in get_args(Mode):
        raise UserError(f"--mode {chosen}: expected one of {', '.join(get_args(Mode))}")
    if chosen != "human_only" and not asks:
        raise UserError(f"--mode {chosen} needs a GSRM: give --gsrm, or --endpoint with --endpoint-model")
    mapped = columns(column)
    check_file("--out", out, responses, *([Path(annotations)] if annotations else []))
    quarantine = quarantine_of(out)
    paid = out.with_name(f"{out.name}.gsrm-answers.jsonl")
    not_an_input(f"the answers beside --out {out},", paid, responses)
    endpoint_config = (
        _endpoint(endpoint, endpoint_model, api_key_env)
        if endpoint is not None and endpoint_model is not None
        else None
    )
    if gsrm is not None and not gsrm.is_dir():
        raise UserError(f"--gsrm {gsrm}: no such folder; name the checkpoint folder of a GSRM stage")
    screen = terminal()
    shop = choose_domain(domain, gsrm, force_domain) if gsrm else load_domain(domain or "taobao")
    loaded = load_pairs(
        responses, shop, layout=layout, columns=mapped, quarantine=quarantine, responses=True, encoding=encoding
    )
    say_loaded(screen, responses, loaded.tally, quarantine)
    if not loaded.pairs:
        raise UserError(f"{responses}: no usable response (see {quarantine})")
    parsed = [parse_response(shop, pair.extra[RESPONSE]) for pair in loaded.pairs]
    if warning := malformed_warning(response.reason for response in parsed):
        screen.print(warning, soft_wrap=True)

    from taosr_she.examine.gsrm import GSRM
    from taosr_she.examine.gsrm_endpoint import EndpointGSRM
    from taosr_she.examine.store import open_annotations
    from taosr_she.examine.verdicts import SOURCES
    from taosr_she.examine.verifier import Verifier
    from taosr_she.recipe.progress import Progress

    asked: GSRM | EndpointGSRM | None = None
    verifier = Verifier(shop, open_annotations(annotations) if annotations else [])
    examined: list[Pair] = []
    sources: Counter[str] = Counter()

    def kept() -> str:
        so_far = f"{len(examined)} of {len(loaded.pairs)} responses were examined"
        if endpoint is None:
            return f"{so_far} and nothing is kept; run the same command again to start over"
        return f"{so_far}; the endpoint's answers are kept in {paid}: run the same command again to continue"

    with said_when_stopped(kept), Progress(screen) as progress:
        if gsrm is not None:
            asked = GSRM.load(gsrm, shop, device)
        elif endpoint_config is not None:
            asked = EndpointGSRM(endpoint_config, shop, paid)
            asked.progress = partial(progress.stage, "endpoint")  # progress, question by question
        hybrid = Hybrid(verifier, asked, chosen)  # type: ignore[arg-type] # one of Mode
        update = progress.stage("examining", len(loaded.pairs))
        for start in range(0, len(parsed), CHUNK):
            pairs, part = loaded.pairs[start : start + CHUNK], parsed[start : start + CHUNK]
            verdicts = hybrid.examine(pairs, part)
            critiques = None
            if asked and chosen != "human_only":
                # Examinations are cached: only pairs that people decided alone cost another generation for critiques.
                critiques = asked.examine_with_critiques(pairs, part).critiques
            for b, pair in enumerate(pairs):
                said = [SOURCES[code] for code in verdicts.sources[b]]
                sources.update(said)
                values = verdicts.values[b].tolist()
                found = _examined(shop, values, said, critiques[b] if critiques else None)
                first = next((k for k, v in zip(shop.step_keys, values, strict=True) if v < RIGHT), None)  # NaN is not
                examined.append(replace(pair, extra={**pair.extra, **found, "first_error": first}))
            if endpoint_config is None:
                update(len(examined), f"{sources['unknown']} steps unknown")
    write_pairs(out, examined, defuse)
    by_whom = ", ".join(f"{source} {count}" for source, count in sources.most_common())
    screen.print(f"wrote {len(examined)} examined responses to {out}; steps by source: {by_whom}", soft_wrap=True)
    if isinstance(asked, EndpointGSRM):
        questions, usable, account = asked.account()
        screen.print(f"endpoint: {account}", soft_wrap=True)
        asked.close()
        if questions and not usable:
            raise UserError(f"the endpoint gave no usable answer, so its steps in {out} are unknown: {account}")


def _endpoint(url: str, model: str, api_key_env: str) -> "EndpointGSRMConfig":
    from pydantic import ValidationError

    from taosr_she.base.config import describe
    from taosr_she.examine.gsrm_endpoint import EndpointGSRMConfig

    try:
        return EndpointGSRMConfig(base_url=url, model=model, api_key_env=api_key_env)
    except ValidationError as error:
        name, _, problem = describe(error).partition(": ")
        option = {"base_url": "--endpoint", "model": "--endpoint-model", "api_key_env": "--api-key-env"}.get(name, name)
        raise UserError(f"{option}: {problem}") from error


def _examined(
    domain: "Domain", values: list[float], sources: list[str], critiques: tuple[str | None, ...] | None
) -> dict[str, Any]:
    known = [None if math.isnan(v) else round(v, 4) for v in values]
    found: dict[str, Any] = {f"verdict_{key}": v for key, v in zip(domain.step_keys, known, strict=True)}
    found |= {f"source_{key}": source for key, source in zip(domain.step_keys, sources, strict=True)}
    if critiques is not None:
        found |= {f"critique_{key}": text for key, text in zip(domain.step_keys, critiques, strict=True)}
    return found
