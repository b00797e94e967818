"""`taosr-she judge`: a label, probabilities and steps for every pair of a file, however long it is."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from taosr_she.base.errors import UserError
from taosr_she.base.terminal import terminal
from taosr_she.commands.checks import check_file, check_parts, check_tool_file, quarantine_of
from taosr_she.commands.options import (
    ActorCoresOption,
    ActorsOption,
    AsWrittenOption,
    ColumnOption,
    DefuseOption,
    DeviceOption,
    EncodingOption,
    ForceDomainOption,
    FormatOption,
    LayoutOption,
    LengthOption,
    ModelDomainOption,
    RatingsOption,
    RayOption,
    columns,
)
from taosr_she.commands.paths import path_argument, path_option
from taosr_she.commands.say import said_when_stopped, say_loaded

if TYPE_CHECKING:
    from taosr_she.domain.pair import Pair
    from taosr_she.judge.bulk.on_ray import Cluster
    from taosr_she.judge.bulk.run import Order
    from taosr_she.judge.judgement import Judgement


def judge(
    model: Annotated[str, typer.Argument(help="Model: a folder, a name from docs/models.md, or a hub name.")],
    pairs: Annotated[Path, path_argument("Pairs, a file or a folder of files; labels are not needed.")],
    out: Annotated[Path, path_option("Output: .jsonl, .csv, .tsv, .parquet, or the tool's file.")] = Path(
        "judged.jsonl"
    ),
    mode: Annotated[
        Literal["reason", "label"], typer.Option(help="reason: steps and label. label: the label alone, much faster.")
    ] = "reason",
    keep_parts: Annotated[
        bool, typer.Option("--parts", help="The output is a folder of parts, in the format that its ending names.")
    ] = False,
    format: FormatOption = None,
    ratings: RatingsOption = None,
    domain: ModelDomainOption = None,
    force_domain: ForceDomainOption = False,
    layout: LayoutOption = "auto",
    column: ColumnOption = None,
    device: DeviceOption = "auto",
    max_new_tokens: LengthOption = 128,
    encoding: EncodingOption = None,
    defuse: DefuseOption = False,
    as_written: AsWrittenOption = False,
    ray: RayOption = None,
    actors: ActorsOption = None,
    actor_cores: ActorCoresOption = 1,
) -> None:
    """Judge pairs: give each its label, probabilities, expected grade and steps. A killed job resumes."""
    from contextlib import nullcontext

    from taosr_she.data.tools import check_scale
    from taosr_she.judge.bulk.on_ray import check_address, connected, device_of
    from taosr_she.judge.bulk.parts import check_ours
    from taosr_she.judge.bulk.run import Order
    from taosr_she.judge.decision import WRITTEN, saved_decision
    from taosr_she.judge.mode import check_mode
    from taosr_she.model.domain_file import choose_domain
    from taosr_she.model.policy import resolve_device

    mapped = columns(column)
    if format is not None:
        if keep_parts:
            raise UserError(f"--parts: --format {format} is one file; leave --parts out")
        check_tool_file("--out", out, format, pairs)
    elif ratings is not None:
        raise UserError("--ratings: belongs to --format; leave it out, or name a format")
    else:
        (check_parts if keep_parts else check_file)("--out", out, pairs)
    if ray is None and (actors is not None or actor_cores != 1):
        raise UserError("--actors, --actor-cores: belong to --ray; leave them out, or name an address")
    shop = choose_domain(domain, model, force_domain)
    check_mode(shop, mode)
    decision = WRITTEN if as_written else saved_decision(model, shop)
    if ray is not None:
        check_address(ray)
    with nullcontext() if ray is None else connected(ray) as cluster:
        place = resolve_device(device).type if cluster is None else device_of(cluster, device)
        order = Order(
            pairs, out, quarantine_of(out), model, shop, place, decision, mode, max_new_tokens, layout, mapped,
            encoding, defuse, keep_parts, format, ratings,
        )  # fmt: skip
        if format is not None:
            check_scale(format, order.scale)
        check_ours(order.folder)
        _run(order, device, cluster, actors, actor_cores)


def _run(order: "Order", device: str, cluster: "Cluster | None", actors: int | None, cores: int) -> None:
    """Judge what is missing, here or on the cluster, and write the output."""
    from taosr_she.domain.malformed import malformed_warning
    from taosr_she.judge.bulk.on_ray import asked_of, judge_on_ray
    from taosr_she.judge.bulk.parts import LOCK, Parts
    from taosr_she.judge.bulk.run import NoPairs, begin, finish, judge_missing
    from taosr_she.judge.decision import WRITTEN
    from taosr_she.judge.pairs import greedy, judge_pairs
    from taosr_she.model.policy import load_policy
    from taosr_she.recipe.lock import only_process
    from taosr_she.recipe.progress import Progress

    screen, out, decision, mode = terminal(), order.out, order.decision, order.mode
    parts: Parts | None = None
    count = 0

    def kept() -> str:
        if parts is None:
            return "no pair has been judged yet; run the same command again to start over"
        return (
            f"{count} of {parts.cut.pairs} pairs are judged and kept in {order.folder}; run the same command again to "
            "go on"
        )

    def say(text: str) -> None:
        screen.print(text, soft_wrap=True)

    with said_when_stopped(kept), only_process(order.folder, LOCK, "another --out"), Progress(screen) as progress:
        try:
            begun = begin(order, progress.counter("reading", "rows"))
        except NoPairs as error:
            say_loaded(screen, order.pairs, error.tally, order.quarantine)
            raise
        if begun is None:
            say(f"{out}: has the judgements of these pairs already")
            return
        parts = begun.parts
        count = before = parts.judged
        malformed = parts.malformed
        if begun.tally:
            say_loaded(screen, order.pairs, begun.tally, order.quarantine)
        else:
            say(f"{order.folder}: {count} of {parts.cut.pairs} pairs are judged already")
        how = "" if decision == WRITTEN else f", decision rule {decision.name}"
        how += "" if mode == "reason" else f", mode {mode}"
        if not parts.complete:
            say(f"judging {parts.cut.pairs - count} pairs with {order.model}, domain '{order.domain.name}'{how}")
            update, started = progress.stage("judging", parts.cut.pairs), time.monotonic()

            def tell(done: int, rows: list[dict[str, Any]]) -> None:
                nonlocal count, malformed
                count = done
                malformed += sum(row["malformed"] is not None for row in rows)
                rate = (done - before) / (time.monotonic() - started)
                update(done, f"{rate:.{0 if rate >= 10 else 1}f} pairs/s, {malformed} malformed")

            if cluster is None:
                policy, sampling = load_policy(order.model, device, "auto"), greedy(order.max_new_tokens)

                def judged(batch: "Sequence[Pair]") -> "list[Judgement]":
                    return judge_pairs(
                        policy, order.domain, batch, sampling, len(batch), decision=decision, mode=mode
                    ).judgements

                judge_missing(begun, order.domain, judged, tell)
            else:
                judge_on_ray(begun, cluster, asked_of(order), actors, cores, tell, say)
        written = finish(order, begun)
    total = parts.cut.pairs
    if warning := malformed_warning({**parts.reasons, None: total - malformed}):
        say(warning)
    if order.format is not None and written is not None:
        say(written.told(out, order.format, order.scale))
    else:
        say(f"wrote {total} judgements to {out} ({malformed} malformed responses)")
