"""Batches that come back judged in any order: nothing twice, nothing lost, and the same bytes."""

import random
from collections.abc import Callable

from toy_bulk import BATCH, DOMAIN, answer, run

from taosr_she.judge.bulk.run import Order, begin, finish
from taosr_she.judge.bulk.work import Batch, Work
from taosr_she.judge.judgement import judgement_columns


def begun(order: Order) -> Work:
    found = begin(order)
    assert found is not None
    return Work(found.parts, found.reader)


def keep(work: Work, batch: Batch) -> None:
    work.keep(batch, [judgement_columns(DOMAIN, answer(DOMAIN, pair)) for pair in batch.pairs])


def numbers(batches: list[Batch]) -> list[int]:
    return [int(pair.extra["n"]) for batch in batches for pair in batch.pairs]


def test_batches_kept_in_any_order_give_the_same_bytes(order: Callable[..., Order]) -> None:
    job = order("o.jsonl")
    run(job)
    expected = job.out.read_bytes()
    job.out.unlink()
    work = begun(job)
    batches = list(work.batches(BATCH))
    assert not work.parts.done
    random.Random(3).shuffle(batches)
    for batch in batches:
        keep(work, batch)
    assert work.parts.complete and work.count == 34
    assert not list(job.folder.glob("_open*"))
    found = begin(job)
    assert found is not None
    finish(job, found)
    assert job.out.read_bytes() == expected


def test_what_comes_back_before_a_kill_is_not_handed_out_again(order: Callable[..., Order]) -> None:
    job = order("o.csv")
    run(job)
    expected = job.out.read_bytes()
    job.out.unlink()
    work = begun(job)
    batches = list(work.batches(BATCH))
    came_back = [batches[i] for i in (1, 2, 3, 6)]  # the end of part 0, the whole part 1, the begin of part 3
    for batch in came_back:
        keep(work, batch)
    after = begun(job)
    assert list(after.parts.done) == [1] and after.count == 4 * BATCH
    left = list(after.batches(BATCH))
    assert sorted(numbers(left) + numbers(came_back)) == [n for n in range(37) if n % 10 != 9]
    for batch in left[:-1]:
        keep(after, batch)
    run(job)  # in one process: it takes what is left
    assert job.out.read_bytes() == expected


def test_a_log_of_a_part_that_was_finished_is_removed(order: Callable[..., Order]) -> None:
    job = order("o.jsonl", keep_parts=True)
    work = begun(job)
    batch = next(work.batches(2 * BATCH))
    logged = work.parts.add(0, 0, [judgement_columns(DOMAIN, answer(DOMAIN, pair)) for pair in batch.pairs])
    kept = (job.folder / "_open-000000.jsonl").read_bytes()
    keep(work, batch)
    (job.folder / "_open-000000.jsonl").write_bytes(kept)  # as if killed before it was removed
    assert begun(job).parts.judged == len(logged) and not list(job.folder.glob("_open*"))
