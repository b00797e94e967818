"""Data from a file of labelled pairs."""

from collections.abc import Iterable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.base.secret import masked
from taosr_she.data.demonstration import Demonstration, read_demonstrations
from taosr_she.data.split import count_queries, split_by_query
from taosr_she.data.summary import summary
from taosr_she.data.teachers.lexical import lexical_demonstration, lexical_reference
from taosr_she.data.teachers.llm import llm_demonstrations
from taosr_she.data.validate import is_any, load_pairs
from taosr_she.domain.pair import Annotation, Pair, Product
from taosr_she.examine.majority import MACHINE
from taosr_she.examine.store import read_all
from taosr_she.recipe.context import Context, DataFolder
from taosr_she.recipe.kinds import PairsStage


def run(context: Context, stage: PairsStage) -> dict[str, Any]:
    """Read, validate, split by query, and let the teacher write demonstrations for the training split.

    The lexical teacher's conclusions also serve as machine references for the steps that no person annotated, in
    training and in evaluation: they say whether the reasoning follows the words, not whether a person would agree.
    """
    loaded = load_pairs(
        Path(stage.path), context.domain, layout=stage.layout, columns=stage.columns or None, where=stage.where or None,
        require_label=True, quarantine=context.folder / "quarantine.jsonl", encoding=stage.encoding,
    )  # fmt: skip
    if not loaded.pairs:
        raise UserError(f"{stage.path}: no usable pair (see {context.folder / 'quarantine.jsonl'})")
    splits = split_by_query(loaded.pairs, stage.split, context.recipe.seed)
    _check_columns(loaded.pairs, stage.not_scored)
    for name in ("development", "test"):
        splits[name] = [p for p in splits.get(name, []) if not _matches(p, stage.not_scored)]
    queries = {name: count_queries(kept) for name, kept in splits.items()}
    for line in summary(Path(stage.path), loaded, context.folder / "quarantine.jsonl"):
        context.progress.say(line)
    context.progress.say("  " + ", ".join(f"{n}: {len(splits[n])} pairs of {queries[n]} queries" for n in splits))
    splits["demonstration"] = splits["training"]
    demonstrations = _demonstrations(context, stage, splits["demonstration"])
    people = read_all(stage.annotations) if stage.annotations else []
    said = {name: _said_of(splits[name], people) for name in ("training", "development", "test")}
    if stage.annotations and not any(said.values()):
        raise UserError(
            f"{masked(stage.annotations)}: no annotation belongs to a pair of {stage.path}: compare the pair_ids"
        )
    # People first: a step that nobody annotated has the machine's reference, if any.
    machine = {name: _references(context, stage, splits[name], said[name]) for name in said}
    counts = DataFolder(context.folder).write(
        splits, demonstrations, said["training"] + machine["training"], said["development"],
        [a for name in ("development", "test") for a in said[name] + machine[name]], stage.probe_share,
        context.recipe.seed,
    )  # fmt: skip
    told = {"rejected": len(loaded.rejected), "rejected_reasons": loaded.counts, "bad_prices": len(loaded.bad_prices)}
    return counts | {"queries": queries} | told


def _matches(pair: Pair, values: dict[str, Any]) -> bool:
    return bool(values) and all(
        is_any(_value(pair, key), value if isinstance(value, list) else [value]) for key, value in values.items()
    )


def _value(pair: Pair, name: str) -> Any:
    """Of a column of the file, or one of our fields; None where the pair has none."""
    return pair.extra.get(name, getattr(pair, name, getattr(pair.product, name, None)))


def _check_columns(pairs: list[Pair], names: Iterable[str]) -> None:
    """A misspelled name must not look like a column whose values are all others."""
    columns = list(dict.fromkeys(column for pair in pairs for column in pair.extra))
    ours = [field.name for kind in (Pair, Product) for field in fields(kind)]
    for name in names:
        if name not in columns and name not in ours:
            raise UserError(f"not_scored: no pair has '{name}'; there are {', '.join([*columns, *ours])}")


def _demonstrations(context: Context, stage: PairsStage, pairs: list[Pair]) -> list[Demonstration]:
    if stage.demonstrations:
        wanted = {p.pair_id for p in pairs}
        kept = [d for d in read_demonstrations(Path(stage.demonstrations)) if d.pair_id in wanted]
        if not kept:
            raise UserError(f"{stage.demonstrations}: no demonstration belongs to a pair of the training split")
        return kept
    if stage.teacher == "lexical":
        return [lexical_demonstration(context.domain, p) for p in pairs]
    if stage.llm is None:
        return []
    # Beside the stages, not in this one's folder: answers were paid for, and survive a change of settings.
    answers = context.recipe.folder / "llm-answers.jsonl"
    progress = partial(context.progress.stage, "llm teacher")
    summary = llm_demonstrations(stage.llm, context.domain, pairs, answers, progress=progress)
    lost = {**summary.rejected, **summary.unanswered}
    account = "; ".join(
        [
            f"{summary.kept} kept, {sum(summary.rejected.values())} rejected, {summary.left} without an answer, "
            f"cost {summary.cost:.2f}"
            + (f", stopped by {summary.stopped_by_limit}" if summary.stopped_by_limit else ""),
            *(f"{count} x {reason}" for reason, count in sorted(lost.items(), key=lambda item: -item[1])[:3]),
            *summary.adapted,
        ]
    )
    context.progress.say(f"llm teacher: {account}")
    if pairs and not summary.kept:
        raise UserError(f"the LLM teacher wrote no usable demonstration ({account}); what was answered is in {answers}")
    return list(summary.demonstrations)


def _said_of(pairs: list[Pair], annotations: list[Annotation]) -> list[Annotation]:
    wanted = {p.pair_id for p in pairs}
    return [a for a in annotations if a.pair_id in wanted]


def _references(context: Context, stage: PairsStage, pairs: list[Pair], people: list[Annotation]) -> list[Annotation]:
    """Machine references where people said nothing of a step."""
    if stage.teacher != "lexical":
        return []
    label = context.domain.steps[context.domain.label_step].key
    said = {(a.pair_id, a.step) for a in people}
    return [
        Annotation(pair.pair_id, step, conclusion, annotator=f"{MACHINE}lexical")
        for pair in pairs
        for step, conclusion in lexical_reference(context.domain, pair).items()
        if step != label and (pair.pair_id, step) not in said
    ]
