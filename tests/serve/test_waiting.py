"""Which candidates form a batch, and what becomes of calls that wait too long or are dropped."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, cast

import pytest

from taosr_she import Judge
from taosr_she.serve.waiting import Call, Full, Problem, Waiting

OLD, NEW = cast(Judge, "old"), cast(Judge, "new")


def on_a_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    @wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


def call(query: str, count: int) -> Call:
    return Call(query, [{"query": query, "title": str(i)} for i in range(count)], 60)


def waiting(*calls: Call, bound: int = 100) -> Waiting:
    line = Waiting(bound)
    for one in calls:
        line.admit(one)
    return line


def taken(line: Waiting, size: int, judge: Judge = OLD) -> list[str]:
    return [f"{c.query}{number}" for c, number in line.take(size, judge)[1]]


@on_a_loop
async def test_calls_with_the_query_of_the_oldest_come_before_the_others() -> None:
    line = waiting(call("a", 2), call("b", 2), call("a", 1))
    assert taken(line, 4) == ["a0", "a1", "a0", "b0"]
    assert taken(line, 4) == ["b1"] and line.candidates == 0


@on_a_loop
async def test_a_large_call_does_not_hold_up_a_small_one() -> None:
    line = waiting(call("large", 9), call("small", 1))
    assert taken(line, 4) == ["large0", "large1", "large2", "large3"]
    assert taken(line, 4) == ["small0", "large4", "large5", "large6"]
    assert taken(line, 4) == ["large7", "large8"]


@on_a_loop
async def test_one_model_judges_all_candidates_of_a_call() -> None:
    first, second = call("a", 3), call("a", 1)
    line = waiting(first)
    assert line.take(2, OLD)[0] is OLD
    line.admit(second)
    judge, batch = line.take(4, NEW)
    assert judge is OLD and batch == [(first, 2)]
    assert line.take(4, NEW) == (NEW, [(second, 0)])


@on_a_loop
async def test_a_call_that_would_exceed_the_bound_is_refused_with_a_measured_time() -> None:
    line = waiting(call("a", 8), bound=10)
    with pytest.raises(Full) as full:
        line.admit(call("b", 3))
    assert full.value.seconds == 1  # not measured yet
    line.measured(2, 8.0)
    with pytest.raises(Full) as full:
        line.admit(call("b", 4))
    assert full.value.seconds == 8  # 2 candidates too many, at 0.25 a second
    line.admit(call("b", 2))
    assert line.candidates == 10


@on_a_loop
async def test_dropped_candidates_are_answered_and_never_taken() -> None:
    first, second = call("a", 3), call("b", 1)
    line = waiting(first, second)
    assert taken(line, 2) == ["a0", "a1"]
    late = Problem("expired", "late")
    assert line.drop(first, late) == 1 and line.drop(first, late) == 0
    assert first.answers == [None, None, late] and line.candidates == 1
    assert taken(line, 9) == ["b0"] and not first.done.done()
    for number in (0, 1):
        first.answer(number, late)
    assert first.done.done()
