"""A bulk job from its order to its output: `begin` or resume, `judge_missing`, `finish`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taosr_she.base.errors import UserError
from taosr_she.base.files import dumps
from taosr_she.data.parts import join_parts, part_suffix
from taosr_she.data.ratings import Ratings, ratings
from taosr_she.data.read import read_pairs
from taosr_she.data.tools import UNIT, Written, check_ids, document_id, write_judgements
from taosr_she.data.validate import PairStream, Tally
from taosr_she.data.write import Columns
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.judge.bulk.job import (
    RECORD,
    Checked,
    Job,
    fingerprint_input,
    fingerprint_model,
    finished,
    other_job,
    record,
    record_finished,
    recorded,
)
from taosr_she.judge.bulk.parts import Cut, Parts, check_ours, clear
from taosr_she.judge.bulk.reading import PairReader, check_rows
from taosr_she.judge.bulk.work import Work
from taosr_she.judge.decision import WRITTEN, Decision
from taosr_she.judge.judgement import Judgement, column_kinds, judgement_columns
from taosr_she.judge.mode import Mode
from taosr_she.judge.pairs import PART_PAIRS
from taosr_she.ranks.work import processes

BATCHES = 16
"""Number of batches in a part. A batch is what a kill may cost; parts are files, of which there should not be many."""


@dataclass(frozen=True)
class Order:
    """What to judge, by what, and where the judgements go."""

    pairs: Path
    out: Path
    quarantine: Path  # file for rejected rows
    model: str
    domain: Domain
    device: str  # cpu or cuda: batches differ in size
    decision: Decision = WRITTEN
    mode: Mode = "reason"
    max_new_tokens: int = 128
    layout: str = "auto"
    columns: dict[str, str] | None = None
    encoding: str | None = None
    defuse: bool = False
    keep_parts: bool = False  # `out` is the folder of parts
    format: str | None = None  # of a search tool (`data.tools`): `out` holds the labels as ratings
    ratings: str | None = None  # what these mean (`data.ratings`)

    @property
    def folder(self) -> Path:
        """The folder of parts."""
        return self.out if self.keep_parts else self.out.with_name(f"{self.out.name}.parts")

    @property
    def scale(self) -> Ratings:
        """The ratings of `format`."""
        return ratings(self.domain, self.ratings, unit=self.format in UNIT)

    @property
    def suffix(self) -> str:
        """Ending of the parts."""
        if self.format is not None:
            return ".jsonl"
        return part_suffix(self.out, packed=self.keep_parts)

    def stream(self) -> PairStream:
        """The rows of the input. UserError for problems of the whole file."""
        return PairStream(self.pairs, self.domain, self.layout, self.columns, encoding=self.encoding)

    def job(self) -> Job:
        """What ties the folder of parts to this order."""
        rule = dumps(self.decision.told)
        options = {
            "--mode": self.mode, "--max-new-tokens": self.max_new_tokens, "the decision rule": rule,
            "--device": self.device, "--layout": self.layout, "--column": self.columns, "--encoding": self.encoding,
            "--defuse": self.defuse, "the format of the parts": self.suffix,
        }  # fmt: skip
        told = (str(self.pairs), fingerprint_input(self.pairs), self.model, fingerprint_model(self.model))
        return Job(*told, self.domain, options)


@dataclass(frozen=True)
class Begun:
    """A job that has begun, now or in an earlier process."""

    parts: Parts
    reader: PairReader
    document: str | None  # the input's column of product ids
    tally: Tally | None  # of the input, if it was checked now


def begin(order: Order, seen: Callable[[int], None] = lambda rows: None) -> Begun | None:
    """Check the rows of the input, or find what an earlier process has left; None if that one has finished the output.

    `seen` receives the number of rows checked so far. Raises UserError for an input that cannot be read or has no
    usable pair, and if the folder belongs to another job. Nothing is left of a job that has not begun.
    """
    try:
        return _begin(order, seen)
    except BaseException:
        if order.folder.exists() and not (order.folder / RECORD).exists():
            clear(order.folder)
        raise


def _begin(order: Order, seen: Callable[[int], None]) -> Begun | None:
    folder, stream, job = order.folder, order.stream(), order.job()
    check_ours(folder)
    if finished(folder) and not order.keep_parts:
        same = other_job(folder, job) is None and order.out.exists()
        clear(folder)
        if same:
            return None
    tally, checked = None, recorded(folder, job)
    if checked is None:
        folder.mkdir(parents=True, exist_ok=True)
        tally, checked = _check(order, stream, seen)
        record(folder, job, checked)
        stream = order.stream()
    batch = PART_PAIRS[order.device]
    cut = Cut(checked.pairs, BATCHES * batch, batch)
    parts = Parts(folder, order.suffix, cut, Columns(checked.columns), order.defuse)
    return Begun(parts, PairReader(stream, folder), stream.columns.product_id, tally)


def _check(order: Order, stream: PairStream, seen: Callable[[int], None]) -> tuple[Tally, Checked]:
    def fits(pair: Pair) -> None:
        if order.format is not None:
            check_ids(order.format, pair.query_id, document_id(pair, stream.columns.product_id))

    columns = check_rows(stream, order.folder, order.quarantine, fits, seen)
    tally = stream.tally
    if not tally.usable:
        raise NoPairs(tally, f"{order.pairs}: no usable pair (see {order.quarantine})")
    for name, kind in column_kinds(order.domain).items():
        columns.declare(name, kind)
    kinds = {name: sorted(found) for name, found in columns.extra.items()}
    return tally, Checked(tally.usable, tally.rejected.total(), stream.layout, kinds)


class NoPairs(UserError):
    """No row of the input is usable."""

    def __init__(self, tally: Tally, message: str) -> None:
        super().__init__(message)
        self.tally = tally


def judge_missing(
    begun: Begun,
    domain: Domain,
    judge: Callable[[Sequence[Pair]], list[Judgement]],
    judged: Callable[[int, list[dict[str, Any]]], None] = lambda pairs, columns: None,
) -> None:
    """Judge the pairs of all parts that are not finished, in batches, with `judge`. Only one part is in memory.

    `judged` receives the number of pairs judged so far in all parts, in this process or an earlier one, and the columns
    of the batch just kept.
    """
    work = Work(begun.parts, begun.reader)
    for batch in work.batches(begun.parts.cut.batch * processes()):  # a batch for each process
        columns = [judgement_columns(domain, found) for found in judge(batch.pairs)]
        work.keep(batch, columns)
        judged(work.count, columns)


def finish(order: Order, begun: Begun) -> Written | None:
    """Make the output from the parts, which are then removed unless they are the output. Returns what was written in
    the format of a search tool."""
    parts, written = begun.parts, None
    if order.format is not None:
        labelled = (
            (pair, document_id(pair, begun.document), pair.extra.get("predicted"))
            for path in parts.paths()
            for pair in read_pairs(path)
        )
        written = write_judgements(order.out, order.format, labelled, order.scale, order.defuse)
    elif not order.keep_parts:
        join_parts(order.out, parts.paths(), parts.columns, order.defuse)
    record_finished(order.folder)
    if not order.keep_parts:
        clear(order.folder)
    return written
