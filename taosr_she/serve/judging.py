"""`/v1/judge`, and how any route gets its answers from the service."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from taosr_she.base.config import Strict
from taosr_she.base.escape import one_line
from taosr_she.judge.judgement import Judgement
from taosr_she.serve.candidates import Candidate, Query, check_query, id_of, row_of
from taosr_she.serve.replies import Refused, reply
from taosr_she.serve.service import Service
from taosr_she.serve.waiting import Answer, Call, Full, Problem, Row

DEADLINE = "x-deadline-seconds"
"""Header with a deadline shorter than the service's."""


class JudgeRequest(Strict):
    """A query with its candidates."""

    query: str | Query
    candidates: list[Candidate | str] = Field(min_length=1)
    model: str | None = None
    steps: bool = False
    """Whether the answers contain the steps of the reasoning."""
    stream: bool = False
    """Whether to send server-sent events: text while the model writes, then the judgement of each candidate."""


async def judge(service: Service, request: Request, asked: JudgeRequest) -> Response:
    """The route `/v1/judge`."""
    check_model(service, asked.model)
    query = asked.query if isinstance(asked.query, str) else asked.query.text
    ids = [id_of(candidate, number) for number, candidate in enumerate(asked.candidates)]
    rows = [row_of(query, candidate) for candidate in asked.candidates]
    head = {"model": service.name, "domain": service.judge.domain.name, "mode": service.settings.mode}

    def record(number: int, answer: Answer) -> dict[str, Any]:
        return {"id": ids[number], **told(service, answer, asked.steps)}

    if not asked.stream:
        answers = await answers_to(service, request, query, rows)
        return reply({**head, "judgements": [record(number, answer) for number, answer in enumerate(answers)]})

    async def events() -> AsyncIterator[str]:
        yield event("start", head)
        async for number, news in stream(service, call, heard):
            if isinstance(news, str):
                yield event("text", {"id": ids[number], "text": news})
            else:
                yield event("judgement", record(number, news))
        yield event("end", {})

    call, heard = begin_stream(service, request, query, rows)
    return sse(events())


def told(service: Service, answer: Answer, steps: bool) -> dict[str, Any]:
    """An answer as JSON. Either `label` or `error` is null, never both."""
    if isinstance(answer, Problem):
        return {"label": None, "probabilities": None, "expected_grade": None, "tier": None, "error": answer.line}
    found: dict[str, Any] = {
        "label": answer.label,
        "probabilities": answer.probabilities,
        "expected_grade": answer.expected_grade,
        "tier": answer.tier,
    }
    if steps:
        found["steps"] = answer.steps
    return found | {"error": answer.reason}


async def answers_to(service: Service, request: Request, query: str, rows: Sequence[Row]) -> list[Answer]:
    """The answers to all candidates, in their order. If the client leaves, its waiting candidates are dropped.

    Refuses a call that is too large or finds no room, and one of which no candidate was started in time.
    """
    call = _call(service, request, query, rows)
    gone: asyncio.Future[Any] = asyncio.ensure_future(request.receive())
    both: set[asyncio.Future[Any]] = {call.done, gone}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        if not call.done.done():
            service.drop(call)
    answers = [answer for answer in call.answers if answer is not None]
    if len(answers) < len(rows):
        raise Refused(499, "the client left")
    kinds = {answer.kind if isinstance(answer, Problem) else "" for answer in answers}
    if kinds == {"expired"}:
        raise Refused(504, f"the deadline of {call.seconds:g} s was over before the model was free; nothing was judged")
    if kinds == {"stopped"}:
        raise Refused(503, "the service stopped before the model was free; nothing was judged")
    return answers


News = asyncio.Queue[tuple[int, str | Answer]]


def begin_stream(service: Service, request: Request, query: str, rows: Sequence[Row]) -> tuple[Call, News]:
    """Submit a call whose text and answers come one by one: to be read with `stream`."""
    news: News = asyncio.Queue()
    return _call(service, request, query, rows, news), news


async def stream(service: Service, call: Call, news: News) -> AsyncIterator[tuple[int, str | Answer]]:
    """Numbers of candidates with a piece of text or, once for each, the answer. If the client leaves, its waiting
    candidates are dropped."""
    try:
        left = len(call.rows)
        while left:
            number, told_ = await news.get()
            left -= not isinstance(told_, str)
            yield number, told_
    finally:
        if not call.done.done():
            service.drop(call)


def sse(events: AsyncIterator[str]) -> Response:
    """Server-sent events."""
    return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-store"})


def event(name: str | None, content: Any) -> str:
    """One server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(content, separators=(',', ':'))}\n\n"


def check_model(service: Service, model: str | None) -> None:
    """Refuse a request for another model."""
    if model is not None and model != service.name:
        raise Refused(404, f"model '{model[:80]}' is not served here; this is '{service.name}'")


def _call(service: Service, request: Request, query: str, rows: Sequence[Row], news: News | None = None) -> Call:
    check_query(query)
    limit = service.settings.candidates
    if len(rows) > limit:
        raise Refused(422, f"{len(rows)} candidates in a call, at most {limit} are allowed: send several calls")
    heard = answered = None
    if news is not None:
        put = news.put_nowait
        heard, answered = (lambda number, text: put((number, text))), (lambda number, answer: put((number, answer)))
    call = Call(query, rows, _seconds(service, request), heard, answered)
    try:
        service.submit(call)
    except Full as full:
        raise Refused(429, str(full), {"retry-after": str(full.seconds)}) from full
    texts = ""
    if service.settings.log_texts:
        titles = "; ".join(str(row.get("title"))[:80] for row in rows[:5])
        texts = one_line(f" query={query!r} titles={titles!r}")
    request.state.texts = f" {len(rows)} candidates{texts}"
    return call


def _seconds(service: Service, request: Request) -> float:
    longest = service.settings.deadline
    given = request.headers.get(DEADLINE)
    if given is None:
        return longest
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise Refused(422, f"header {DEADLINE}: '{given[:40]}' is not a number of seconds")
    return min(seconds, longest)


def judged_label(answer: Answer) -> Judgement:
    """The judgement, if it has a label; refuses anything else with its reason."""
    if isinstance(answer, Problem):
        raise Refused(500 if answer.kind == "failed" else 503, answer.line)
    if answer.label is None:
        raise Refused(422, f"no judgement: {answer.reason}")
    return answer
