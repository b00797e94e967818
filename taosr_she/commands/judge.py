"""`taosr-she judge`: a label, probabilities and steps for every pair of a file, however long it is."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from taosr_she.base.errors import UserError
from taosr_she.base.terminal import terminal
from taosr_she.commands.checks import check_file, check_parts, check_tool_file, quarantine_of
from taosr_she.commands.options import (
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
    columns,
)
from taosr_she.commands.paths import path_argument, path_option
from taosr_she.commands.say import said_when_stopped, say_loaded

if TYPE_CHECKING:
    from taosr_she.domain.pair import Pair
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
) -> None:
    """Judge pairs: give each its label, probabilities, expected grade and steps. A killed job resumes."""
    from taosr_she.data.tools import check_scale
    from taosr_she.domain.malformed import malformed_warning
    from taosr_she.judge.bulk.parts import LOCK, Parts, check_ours
    from taosr_she.judge.bulk.run import NoPairs, Order, begin, finish, judge_missing
    from taosr_she.judge.decision import WRITTEN, saved_decision
    from taosr_she.judge.mode import check_mode
    from taosr_she.judge.pairs import greedy, judge_pairs
    from taosr_she.model.domain_file import choose_domain
    from taosr_she.model.policy import load_policy, resolve_device
    from taosr_she.recipe.lock import only_process
    from taosr_she.recipe.progress import Progress

    mapped = columns(column)
    if format is not None:
        if keep_parts:
            raise UserError(f"--parts: --format {format} is one file; leave --parts out")
        check_tool_file("--out", out, format, pairs)
    elif ratings is not None:
        raise UserError("--ratings: belongs to --format; leave it out, or name a format")
    else:
        (check_parts if keep_parts else check_file)("--out", out, pairs)
    quarantine = quarantine_of(out)
    screen, shop = terminal(), choose_domain(domain, model, force_domain)
    check_mode(shop, mode)
    decision = WRITTEN if as_written else saved_decision(model, shop)
    order = Order(
        pairs, out, quarantine, model, shop, resolve_device(device).type, decision, mode, max_new_tokens, layout,
        mapped, encoding, defuse, keep_parts, format, ratings,
    )  # fmt: skip
    if format is not None:
        check_scale(format, order.scale)
    check_ours(order.folder)
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
            say_loaded(screen, pairs, error.tally, quarantine)
            raise
        if begun is None:
            say(f"{out}: has the judgements of these pairs already")
            return
        parts = begun.parts
        count = before = parts.judged
        malformed = parts.malformed
        if begun.tally:
            say_loaded(screen, pairs, begun.tally, quarantine)
        else:
            say(f"{order.folder}: {count} of {parts.cut.pairs} pairs are judged already")
        how = "" if decision == WRITTEN else f", decision rule {decision.name}"
        how += "" if mode == "reason" else f", mode {mode}"
        if not parts.complete:
            say(f"judging {parts.cut.pairs - count} pairs with {model}, domain '{shop.name}'{how}")
            policy, sampling = load_policy(model, device, "auto"), greedy(max_new_tokens)
            update, started = progress.stage("judging", parts.cut.pairs), time.monotonic()

            def judged(batch: "Sequence[Pair]") -> "list[Judgement]":
                nonlocal malformed
                found = judge_pairs(policy, shop, batch, sampling, len(batch), decision=decision, mode=mode).judgements
                malformed += sum(judgement.reason is not None for judgement in found)
                return found

            def tell(done: int) -> None:
                nonlocal count
                count = done
                rate = (done - before) / (time.monotonic() - started)
                update(done, f"{rate:.{0 if rate >= 10 else 1}f} pairs/s, {malformed} malformed")

            judge_missing(begun, shop, judged, tell)
        written = finish(order, begun)
    total = parts.cut.pairs
    if warning := malformed_warning({**parts.reasons, None: total - malformed}):
        say(warning)
    if format is not None and written is not None:
        say(written.told(out, format, order.scale))
    else:
        say(f"wrote {total} judgements to {out} ({malformed} malformed responses)")
