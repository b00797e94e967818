"""Data from a file of labelled pairs."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from taosr_she.base.config import Strict
from taosr_she.base.errors import UserError
from taosr_she.base.secret import masked
from taosr_she.data.columns import column_map
from taosr_she.data.demonstration import Demonstration, read_demonstrations
from taosr_she.data.fingerprint import fingerprint_config, fingerprint_file
from taosr_she.data.matching import MatchingConfig, matching_exercises
from taosr_she.data.split import count_queries, fold_by_query, split_by_query
from taosr_she.data.summary import summary
from taosr_she.data.teachers.catalogue import check_typed_steps
from taosr_she.data.teachers.label import label_demonstration
from taosr_she.data.teachers.lexical import check_steps, lexical_demonstration, lexical_reference
from taosr_she.data.teachers.llm import llm_demonstrations
from taosr_she.data.teachers.llm_config import LLMTeacherConfig
from taosr_she.data.validate import is_any, load_pairs
from taosr_she.domain.annotation import row_from_annotation
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Annotation, Pair, Product
from taosr_she.examine.majority import MACHINE, decided
from taosr_she.examine.store import read_all
from taosr_she.recipe.context import Context
from taosr_she.recipe.data_folder import DataFolder
from taosr_she.recipe.stage import Stage
from taosr_she.recipe.typed_pairs import TypedConfig, TypedPairs

SHOWN_PEOPLE = 8
"""Maximum number of annotators that are named in the output of the stage."""


class Fold(Strict):
    """One fold of a cross-validation."""

    number: int = Field(ge=0)
    """Number of the fold that is the test split, counted from 0."""
    of: int = Field(default=5, ge=2)
    """Number of folds."""

    @model_validator(mode="after")
    def _check(self) -> "Fold":
        if self.number >= self.of:
            raise ValueError(f"`number` counts from 0 to {self.of - 1}")
        return self


class PairsStage(Stage):
    """Data from a file of labelled pairs."""

    later: ClassVar[dict[str, Any]] = {
        "encoding": None,
        "fold": None,
        "together": "same",
        "typed": None,
        "matching": None,
    }
    kind: Literal["pairs"]
    """Name of the kind."""
    offers: ClassVar[str] = "data"
    path: str
    """CSV, TSV, JSONL, Parquet (or .gz of the text formats), or a folder (WANDS, a saved Hugging Face dataset).
    Relative paths start at the working folder."""
    layout: str = "auto"
    """Column layout: auto, plain, esci, esci-sample, chorus, wands, rair."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our field -> the file's column, on top of the layout."""
    encoding: str | None = None
    """Encoding of a text file that is not UTF-8: cp1252, gb18030, shift_jis, ..."""
    where: dict[str, Any] = Field(default_factory=dict)
    """Keep only rows with these values, e.g. `{locale: us}`."""
    not_scored: dict[str, Any] = Field(default_factory=dict)
    """Rows with these values are used for training only, not in the development and test splits."""
    split: dict[str, float] = Field(default_factory=lambda: {"training": 0.7, "development": 0.1, "test": 0.2})
    """Shares of the splits, by query."""
    fold: Fold | None = None
    """Cross-validation: the test split is one of several folds by query; `split` divides the other folds."""
    together: Literal["same", "near"] = "same"
    """Which queries share a split: the `same` query apart from case and form of Unicode, or also `near` ones (plurals,
    accents, words written together)."""
    teacher: Literal["lexical", "catalogue", "label", "llm", "none"] = "lexical"
    """Source of demonstrations for the training split. `lexical` and `catalogue` also give machine references for the
    steps. `label` writes only the label, for a model without reasoning. `llm` asks an OpenAI-compatible server."""
    typed: TypedConfig | None = None
    """People's annotations of queries, and their use, for `teacher: catalogue`."""
    matching: MatchingConfig | None = None
    """Exercises in comparing, on top of the demonstrations (`data.matching`). The teacher writes them like those, so
    `label` writes the label alone; not with `llm`, `none` or a file of demonstrations."""
    llm: LLMTeacherConfig | None = None
    """Endpoint, model and limits of `teacher: llm`. Answers are kept in `llm-answers.jsonl` of the run folder."""
    demonstrations: str | None = None
    """A file of demonstrations (JSONL of `pair_id, response, teacher`) that replaces the teacher."""
    annotations: str | None = None
    """Annotations by people: a JSONL file, a SQLite file (.db, .sqlite), or a database URL. Those of the training split
    examine rollouts and train GSRMs, those of the development split measure GSRMs, and those of both scored splits are
    the truth of the step metrics."""
    probe_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the annotated training pairs held out from verifier and GSRM, to monitor the GSRM during training."""

    @field_validator("where", "not_scored")
    @classmethod
    def _check_values(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name, wanted in values.items():
            if any(isinstance(v, dict | list) for v in (wanted if isinstance(wanted, list) else [wanted])):
                raise ValueError(f"'{name}' must be a value or a list of values")
        return values

    @model_validator(mode="after")
    def _check(self) -> "PairsStage":
        if (self.teacher == "llm") != (self.llm is not None):
            raise ValueError("`teacher: llm` and the section `llm` go together")
        if (self.teacher == "catalogue") != (self.typed is not None):
            raise ValueError("`teacher: catalogue` and the section `typed` go together")
        if self.matching is not None and (self.demonstrations or self.teacher in ("llm", "none")):
            raise ValueError("`matching` needs a teacher that writes its exercises: lexical, catalogue or label")
        if "training" not in self.split or "test" not in self.split:
            raise ValueError("`split` needs shares for `training` and `test`")
        unknown = self.split.keys() - {"training", "development", "test"}
        if unknown:
            raise ValueError(f"`split` knows training, development and test, not '{min(unknown)}'")
        if min(self.split.values()) < 0 or not math.isclose(sum(self.split.values()), 1):
            raise ValueError("`split`: the shares must not be negative and must sum to 1")
        return self

    def files(self) -> dict[str, str]:
        queries = [part.queries for part in (self.typed, self.matching) if part is not None]
        read = {p: fingerprint_file(Path(p)) for p in (self.path, self.demonstrations, *queries) if p}
        if self.annotations:
            # Of what is said, not of a file: a database has no file, or several.
            said = [row_from_annotation(a) for a in read_all(self.annotations)]
            read[masked(self.annotations)] = fingerprint_config(said)
        return read

    def check(self, name: str, domain: Domain) -> None:
        column_map("plain" if self.layout == "auto" else self.layout, self.columns)
        if self.teacher == "lexical":
            check_steps(domain)
        elif self.teacher == "catalogue":
            check_typed_steps(domain)

    def run(self, context: Context) -> dict[str, Any]:
        """Read, validate, split by query, and let the teacher write demonstrations for the training split.

        The lexical teacher's conclusions also serve as machine references for the steps that no person annotated, in
        training and in evaluation: they say whether the reasoning follows the words, not whether a person would agree.
        """
        loaded = load_pairs(
            Path(self.path), context.domain, layout=self.layout, columns=self.columns or None, where=self.where or None,
            require_label=True, quarantine=context.folder / "quarantine.jsonl", encoding=self.encoding,
        )  # fmt: skip
        if not loaded.pairs:
            raise UserError(f"{self.path}: no usable pair (see {context.folder / 'quarantine.jsonl'})")
        splits = _split(self, loaded.pairs, context.recipe.seed)
        _check_columns(loaded.pairs, self.not_scored)
        for name in ("development", "test"):
            splits[name] = [p for p in splits.get(name, []) if not _matches(p, self.not_scored)]
        queries = {name: count_queries(kept) for name, kept in splits.items()}
        for line in summary(Path(self.path), loaded.tally, context.folder / "quarantine.jsonl"):
            context.progress.say(line)
        context.progress.say("  " + ", ".join(f"{n}: {len(splits[n])} pairs of {queries[n]} queries" for n in splits))
        splits["demonstration"] = splits["training"]
        typed = None
        if self.typed is not None:
            typed = TypedPairs.of(context.domain, self.typed, loaded.pairs, splits, context.recipe.seed)
        demonstrations = _demonstrations(context, self, splits["demonstration"], typed)
        people = read_all(self.annotations) if self.annotations else []
        said = {name: _said_of(splits[name], people) for name in ("training", "development", "test")}
        if self.annotations and not any(said.values()):
            raise UserError(
                f"{masked(self.annotations)}: no annotation belongs to a pair of {self.path}: compare the pair_ids"
            )
        for name in said:
            for line in _told_people(context.domain, said[name]):
                context.progress.say(f"  {name}: {line}")
        if typed is not None:
            splits["demonstration"] = splits["training"] + list(typed.exercises)
            said = {name: found + typed.said_of(splits[name]) for name, found in said.items()}
            for line in typed.summary(splits):
                context.progress.say(f"  {line}")
        if self.matching is not None:
            scored = splits["development"] + splits["test"]
            made = matching_exercises(context.domain, self.matching, splits["training"], scored, context.recipe.seed)
            splits["demonstration"] = splits["demonstration"] + made
            demonstrations = demonstrations + _written(context.domain, self, made, typed)
            context.progress.say(f"  made-up queries: {len(made)}")
        # People first: a step that nobody annotated has the machine's reference, if any.
        machine = {name: _references(context, self, splits[name], said[name], typed) for name in said}
        counts = DataFolder(context.folder).write(
            splits, demonstrations, said["training"] + machine["training"], said["development"],
            [a for name in ("development", "test") for a in said[name] + machine[name]], self.probe_share,
            context.recipe.seed,
        )  # fmt: skip
        told = {
            "rejected": len(loaded.rejected),
            "rejected_reasons": loaded.counts,
            "bad_prices": len(loaded.bad_prices),
        }
        return counts | {"queries": queries} | told


def _matches(pair: Pair, values: dict[str, Any]) -> bool:
    return bool(values) and all(
        is_any(_value(pair, key), value if isinstance(value, list) else [value]) for key, value in values.items()
    )


def _value(pair: Pair, name: str) -> Any:
    """The value of a column of the file, or of one of our fields; None if the pair has none."""
    return pair.extra.get(name, getattr(pair, name, getattr(pair.product, name, None)))


def _check_columns(pairs: list[Pair], names: Iterable[str]) -> None:
    """Otherwise, a misspelled name would look like a column in which no value matches."""
    columns = list(dict.fromkeys(column for pair in pairs for column in pair.extra))
    ours = [field.name for kind in (Pair, Product) for field in fields(kind)]
    for name in names:
        if name not in columns and name not in ours:
            raise UserError(f"not_scored: no pair has '{name}'; there are {', '.join([*columns, *ours])}")


def _split(stage: PairsStage, pairs: list[Pair], seed: int) -> dict[str, list[Pair]]:
    near = stage.together == "near"
    if stage.fold is None:
        return split_by_query(pairs, stage.split, seed, near)
    return fold_by_query(pairs, stage.fold.number, stage.fold.of, stage.split, seed, near)


def _demonstrations(
    context: Context, stage: PairsStage, pairs: list[Pair], typed: TypedPairs | None
) -> list[Demonstration]:
    if stage.demonstrations:
        wanted = {p.pair_id for p in pairs}
        kept = [d for d in read_demonstrations(Path(stage.demonstrations)) if d.pair_id in wanted]
        if not kept:
            raise UserError(f"{stage.demonstrations}: no demonstration belongs to a pair of the training split")
        return kept
    if stage.llm is None:
        return _written(context.domain, stage, pairs, typed) + (typed.exercises_shown() if typed else [])
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


def _written(domain: Domain, stage: PairsStage, pairs: list[Pair], typed: TypedPairs | None) -> list[Demonstration]:
    """Demonstrations of these pairs by a teacher that is a program; none if the stage has no such teacher."""
    if typed is not None:
        return typed.demonstrations(pairs)
    if stage.teacher == "lexical":
        return [lexical_demonstration(domain, p) for p in pairs]
    if stage.teacher == "label":
        return [label_demonstration(domain, p) for p in pairs]
    return []


def _said_of(pairs: list[Pair], annotations: list[Annotation]) -> list[Annotation]:
    wanted = {p.pair_id for p in pairs}
    return [a for a in annotations if a.pair_id in wanted]


def _told_people(domain: Domain, said: list[Annotation]) -> Iterator[str]:
    """Who annotated a split, and how much of it a majority decides."""
    if not said:
        return
    names = sorted({a.annotator for a in said})
    shown = ", ".join(names) if len(names) <= SHOWN_PEOPLE else f"{len(names)} people"
    steps = (f"{step} {sure} decided, {open_} unknown" for step, (sure, open_) in decided(domain, said).items())
    yield f"annotations by {shown}: {'; '.join(steps)}"


def _references(
    context: Context, stage: PairsStage, pairs: list[Pair], people: list[Annotation], typed: TypedPairs | None
) -> list[Annotation]:
    """Machine references for steps without annotations by people."""
    if stage.teacher not in ("lexical", "catalogue"):
        return []
    label = context.domain.steps[context.domain.label_step].key
    said = {(a.pair_id, a.step) for a in people}
    return [
        Annotation(pair.pair_id, step, conclusion, annotator=f"{MACHINE}{stage.teacher}")
        for pair in pairs
        for step, conclusion in (typed.references(pair) if typed else lexical_reference(context.domain, pair)).items()
        if step != label and (pair.pair_id, step) not in said
    ]
