"""`/v1/chat/completions` for the tools that ask a language model for judgements.

The tools send their own prompt. A judge that is trained on one prompt and served with another answers at random, so the
query and the documents are taken out of the tool's prompt, and the model gets the prompt of its own domain.
"""

import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

from fastapi import Request, Response
from pydantic import Field

from taosr_she.base.config import Strict
from taosr_she.serve import opensearch, quepid, veritail
from taosr_she.serve.candidates import rows_of_documents
from taosr_she.serve.judging import answers_to, begin_stream, check_model, event, sse, stream
from taosr_she.serve.replies import Refused, reply
from taosr_she.serve.service import Service
from taosr_she.serve.tool import Asked
from taosr_she.serve.waiting import Answer

TOOLS = (quepid.read, opensearch.read, veritail.read)


class Message(Strict):
    """A turn of the chat."""

    role: str
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None


class ChatRequest(Strict):
    """OpenAI's request, as Quepid, OpenSearch's search-relevance and veritail send it.

    Sampling options are accepted because the tools send them, and do not count: the judge is deterministic.
    """

    messages: list[Message] = Field(min_length=1)
    model: str | None = None
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    n: int = Field(default=1, ge=1, le=1)
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    user: str | None = None


async def complete(service: Service, request: Request, asked: ChatRequest) -> Response:
    """The route `/v1/chat/completions`."""
    check_model(service, asked.model)
    tool = what_is_asked(asked)
    rows = rows_of_documents(tool.query, tool.documents, service.settings.fields)
    domain = service.judge.domain
    head = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time()), "model": service.name}
    if not asked.stream:
        content = tool.content(domain, await answers_to(service, request, tool.query, rows))
        message = {"role": "assistant", "content": content, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return reply({**head, "object": "chat.completion", "choices": [choice], "usage": None})

    def chunk(delta: dict[str, Any], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return event(None, {**head, "object": "chat.completion.chunk", "choices": [choice]})

    async def events() -> AsyncIterator[str]:
        yield chunk({"role": "assistant", "content": ""})
        answers: dict[int, Answer] = {}
        async for number, told in stream(service, call, news):
            if not isinstance(told, str):
                answers[number] = told
            elif len(rows) == 1:  # the texts of several candidates would be mixed
                yield chunk({"reasoning_content": told})
        try:
            yield chunk({"content": tool.content(domain, [answers[number] for number in range(len(rows))])})
        except Refused as refused:  # the head is sent, so the status cannot say it any more
            yield event(None, {"error": {"message": refused.line, "code": refused.status}})
        else:
            yield chunk({}, "stop")
        yield "data: [DONE]\n\n"

    call, news = begin_stream(service, request, tool.query, rows)
    return sse(events())


def what_is_asked(asked: ChatRequest) -> Asked:
    """The query and the documents of a tool's prompt. Refuses what none of the tools sends."""
    system = "\n".join(_text(m) for m in asked.messages if m.role in ("system", "developer"))
    user = next((_text(m) for m in reversed(asked.messages) if m.role == "user"), "").lstrip("\n")
    for read in TOOLS:
        found = read(system, user, asked.response_format)
        if found is not None:
            return found
    raise Refused(
        422,
        "messages: the last user message is not a prompt of Quepid, OpenSearch search-relevance or veritail; this is "
        "no chat model: use /v1/judge",
    )


def _text(message: Message) -> str:
    """The text of a turn; pictures are not read."""
    if isinstance(message.content, list):
        return "\n".join(str(part.get("text", "")) for part in message.content if part.get("type") == "text")
    return message.content or ""
