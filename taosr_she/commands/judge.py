"""`taosr-she judge`: a label, probabilities and steps for every pair of a file."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taosr_she.base.errors import UserError
from taosr_she.base.terminal import terminal
from taosr_she.commands.checks import check_file, quarantine_of
from taosr_she.commands.options import (
    AsWrittenOption,
    ColumnOption,
    DefuseOption,
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
    from taosr_she.domain.pair import Pair
    from taosr_she.judge.judgement import Judgement


def judge(
    model: Annotated[str, typer.Argument(help="Model: a folder, a name from docs/models.md, or a hub name.")],
    pairs: Annotated[Path, path_argument("Pairs; labels are not needed.")],
    out: Annotated[Path, path_option("Output: .jsonl, .csv, .tsv or .parquet.")] = Path("judged.jsonl"),
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
    """Judge pairs: give each its label, probabilities, expected grade and steps."""
    from taosr_she.data.validate import load_pairs
    from taosr_she.data.write import write_pairs
    from taosr_she.domain.malformed import malformed_warning
    from taosr_she.judge.decision import WRITTEN, saved_decision
    from taosr_she.model.domain_file import choose_domain

    mapped = columns(column)
    check_file("--out", out, pairs)
    quarantine = quarantine_of(out)
    screen, shop = terminal(), choose_domain(domain, model, force_domain)
    loaded = load_pairs(pairs, shop, layout=layout, columns=mapped, quarantine=quarantine, encoding=encoding)
    say_loaded(screen, pairs, loaded.tally, quarantine)
    if not loaded.pairs:
        raise UserError(f"{pairs}: no usable pair (see {quarantine})")
    decision = WRITTEN if as_written else saved_decision(model, shop)
    how = "" if decision == WRITTEN else f", decision rule {decision.name}"
    screen.print(f"judging {len(loaded.pairs)} pairs with {model}, domain '{shop.name}'{how}", soft_wrap=True)

    from taosr_she.judge.judgement import judgement_columns
    from taosr_she.judge.pairs import greedy, judge_in_parts
    from taosr_she.model.policy import load_policy
    from taosr_she.recipe.progress import Progress

    answers: list[Judgement] = []

    def judged() -> "list[Pair]":
        return [
            replace(pair, extra={**pair.extra, **judgement_columns(shop, answer)})
            for pair, answer in zip(loaded.pairs, answers, strict=False)
        ]

    def kept() -> str:
        if not answers:
            return "no pair has been judged yet; run the same command again to start over"
        partial = out.with_name(f"partial-{out.name}")
        write_pairs(partial, judged(), defuse)
        return (
            f"{len(answers)} of {len(loaded.pairs)} pairs were judged and are in {partial}; run the same command again "
            "to start over, or judge only the other rows"
        )

    with said_when_stopped(kept), Progress(screen) as progress:
        policy = load_policy(model, device, "auto")
        update = progress.stage("judging", len(loaded.pairs))
        for part in judge_in_parts(policy, shop, loaded.pairs, greedy(max_new_tokens), decision=decision):
            answers += part
            update(len(answers), f"{sum(answer.reason is not None for answer in answers)} malformed")
    write_pairs(out, judged(), defuse)
    if warning := malformed_warning(answer.reason for answer in answers):
        screen.print(warning, soft_wrap=True)
    malformed = sum(answer.reason is not None for answer in answers)
    screen.print(f"wrote {len(answers)} judgements to {out} ({malformed} malformed responses)", soft_wrap=True)
