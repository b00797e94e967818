"""The comparison: candidates a second and latencies of a plain service, ours, and ours without sharing and joining.

All services have the same model, data type, prompts and number of threads, and stay loaded; the turns alternate A B C,
A B C, and every figure is the median of its turns. The client runs on the other core.
"""

import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from taosr_she.base.errors import UserError
from taosr_she.bench.results import write_result
from taosr_she.bench.serve.load import closed, opened, service
from taosr_she.bench.serve.work import label_first, requests
from taosr_she.model.domain_file import choose_domain
from taosr_she.serve.find import find_model

OURS, PLAIN = "taosr_she.bench.serve.ours", "taosr_she.bench.serve.plain"
CANDIDATES = 20
UNSHARED = ("shared_prompts", "kept_prefixes", "copied_prompts")
NAMES = {
    "plain": "plain service, `generate`",
    "reason": "ours, `reason`", "reason alone": "`reason` without sharing and joining",
    "label": "ours, `label`", "label alone": "`label` without sharing and joining",
}  # fmt: skip


def measure_serve(
    console: Console,
    out: Path,
    models: list[str],
    rounds: int,
    seconds: float,
    clients: int,
    threads: int,
    tokens: int,
) -> None:
    """Print the tables and write `serve.json` and `serve.md` to the folder `out`. Raises UserError for a model that is
    not here."""
    if len(set(models)) < len(models):
        raise UserError("--model: name every model once")
    sources = [find_model(model) for model in models]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # its services end with it
    out.mkdir(parents=True, exist_ok=True)
    bodies = requests(queries=30, candidates=CANDIDATES)
    result: dict[str, Any] = {
        "cores": os.cpu_count(), "threads": threads, "rounds": rounds, "seconds": seconds, "clients": clients,
        "candidates": CANDIDATES, "models": {},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        for source, name in sources:
            said = _of_model(console, source, bodies, rounds, seconds, clients, threads, tokens, Path(scratch))
            result["models"][name] = said
    write_result(console, out, "serve", result, table(result))


def _of_model(
    console: Console,
    source: str,
    bodies: list[dict[str, Any]],
    rounds: int,
    seconds: float,
    clients: int,
    threads: int,
    tokens: int,
    scratch: Path,
) -> dict[str, Any]:
    domain = (
        choose_domain(None, source) if (Path(source) / "domain.yaml").is_file() else choose_domain("taobao", source)
    )
    first = str(label_first(domain, scratch / "label-first.yaml"))
    own = None if (Path(source) / "domain.yaml").is_file() else "taobao"
    plain = {"model": source, "domain": own, "force_domain": False, "dtype": "auto", "max_new_tokens": tokens}
    ours = {**plain, "device": "cpu", "name": "bench"}
    label = {**ours, "domain": first, "force_domain": True, "mode": "label"}
    few = {**bodies[0], "candidates": bodies[0]["candidates"][:2]}
    alone = {"batch": CANDIDATES}  # a call fills a batch, so calls are not joined
    with ExitStack() as running:
        services = {
            "plain": running.enter_context(service(PLAIN, plain, threads=threads)),
            "reason": running.enter_context(service(OURS, ours, threads=threads)),
            "reason alone": running.enter_context(service(OURS, ours | alone, *UNSHARED, threads=threads)),
            "label": running.enter_context(service(OURS, label, threads=threads)),
            "label alone": running.enter_context(service(OURS, label | alone, *UNSHARED, threads=threads)),
        }
        turns: dict[str, list[dict[str, float]]] = {way: [] for way in services}
        for one in services.values():
            closed(one.url, [few], 1, 0.01)  # the first request warms up
        for _ in range(rounds):
            for way, one in services.items():
                before = one.cpu_seconds()
                turn = closed(one.url, bodies, clients, seconds)
                judged = max(1.0, turn["answered"] * CANDIDATES)
                turns[way].append(turn | {"cpu_ms_per_candidate": 1000 * (one.cpu_seconds() - before) / judged})
                console.print(
                    f"{source}, {NAMES[way]}: {turns[way][-1]['candidates_per_second']:.1f} candidates/s",
                    highlight=False, soft_wrap=True,
                )  # fmt: skip
    figures = {way: {key: median(turn[key] for turn in of_way) for key in of_way[0]} for way, of_way in turns.items()}
    return {"figures": figures, "overload": _overload(ours, figures["reason"], bodies, seconds, threads)}


def _overload(
    ours: dict[str, Any], served: dict[str, float], bodies: list[dict[str, Any]], seconds: float, threads: int
) -> dict[str, float]:
    """Twice the load that was served, with a queue of about two seconds of work."""
    rate = 2 * served["requests_per_second"]
    queue = max(4 * CANDIDATES, int(2 * served["candidates_per_second"]))
    with service(OURS, {**ours, "queue": queue, "candidates": CANDIDATES}, threads=threads) as one:
        closed(one.url, bodies[:1], 1, 0.01)
        found = opened(one.url, bodies, rate, max(seconds, 10 / rate))
    return {"rate": rate, "queue": queue, **found}


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        f"{CANDIDATES} candidates a request, {result['clients']} clients, {result['threads']} thread(s) per service of "
        f"{result['cores']} cores, medians of {result['rounds']} alternating turns of {result['seconds']:g} s.",
    ]
    for model, said in result["models"].items():
        figures, over = said["figures"], said["overload"]
        base, cpu = figures["plain"]["candidates_per_second"], figures["plain"]["cpu_ms_per_candidate"]
        lines += [
            "", f"**{model}**", "",
            "| | candidates/s | factor | CPU ms a candidate | factor | requests/s | p50 | p95 | p99 |",
            "| --- |" + " ---: |" * 8,
        ]  # fmt: skip
        for way, row in figures.items():
            lines.append(
                f"| {NAMES[way]} | {row['candidates_per_second']:.1f} | {row['candidates_per_second'] / base:.1f} | "
                f"{row['cpu_ms_per_candidate']:.1f} | {cpu / row['cpu_ms_per_candidate']:.1f} | "
                f"{row['requests_per_second']:.2f} | {row['p50']:.2f} s | {row['p95']:.2f} s | {row['p99']:.2f} s |"
            )
        lines += [
            "",
            f"At twice the load that `reason` serves ({over['rate']:.1f} requests/s, a queue of {over['queue']:.0f} "
            f"candidates): {over['answered']:.0f} answered, {over['candidates_per_second']:.1f} candidates/s, p50 "
            f"{over['p50']:.2f} s, p99 {over['p99']:.2f} s; {over['refused']:.0f} refused with 429, "
            f"{over['other']:.0f} other.",
        ]
    return "\n".join(lines) + "\n"
