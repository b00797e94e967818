"""`/v1/rerank` and `/v2/rerank`, as Cohere and Jina define them."""

import time
from typing import Any
from uuid import uuid4

from fastapi import Request, Response
from pydantic import Field

from taosr_she.base.config import Strict
from taosr_she.serve.candidates import rows_of_documents
from taosr_she.serve.judging import answers_to, check_model
from taosr_she.serve.replies import reply, unit
from taosr_she.serve.service import Service
from taosr_she.serve.waiting import Problem


class RerankRequest(Strict):
    """A query with documents: texts, `{"text": ...}`, or objects with the fields of a product."""

    query: str
    documents: list[str | dict[str, Any]] = Field(min_length=1)
    model: str | None = None
    top_n: int | None = Field(default=None, ge=1)
    return_documents: bool = False


async def rerank(service: Service, request: Request, asked: RerankRequest) -> Response:
    """The documents by relevance. `relevance_score` is the expected grade between 0 (worst grade) and 1 (best).

    A document that cannot be judged is last, with score 0 and an `error`.
    """
    check_model(service, asked.model)
    rows = rows_of_documents(asked.query, asked.documents, service.settings.fields)
    answers = await answers_to(service, request, asked.query, rows)
    grades = service.judge.domain.grade_values
    results: list[dict[str, Any]] = []
    for index, answer in enumerate(answers):
        wrong = answer.line if isinstance(answer, Problem) else answer.reason if answer.label is None else None
        result: dict[str, Any] = {"index": index, "relevance_score": 0.0}
        if wrong is None and not isinstance(answer, Problem) and answer.expected_grade is not None:
            result["relevance_score"] = unit(grades, answer.expected_grade)
        else:
            result["error"] = wrong or "the model gives no label distribution"
        if asked.return_documents:
            document = asked.documents[index]
            result["document"] = {"text": document} if isinstance(document, str) else document
        results.append(result)
    results.sort(key=lambda result: ("error" in result, -result["relevance_score"]))
    return reply(
        {
            "id": uuid4().hex,
            "model": service.name,
            "object": "list",
            "created": int(time.time()),
            "results": results[: asked.top_n],
            "meta": {"api_version": {"version": "2" if request.url.path.startswith("/v2") else "1"}},
        }
    )
