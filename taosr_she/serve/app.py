"""The routes of the service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from importlib import resources
from typing import Any

from fastapi import Body, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from taosr_she import __version__
from taosr_she.base.config import Strict
from taosr_she.base.errors import UserError
from taosr_she.serve import chat, judging, rerank
from taosr_she.serve.door import Door
from taosr_she.serve.keys import Keys
from taosr_she.serve.replies import Refused, error, first_problem, reply
from taosr_she.serve.service import Service

JUDGE_BODY = Body(
    openapi_examples={
        "default": {
            "value": {
                "query": "onyx norvik suitcase",
                "candidates": [
                    {"id": "a", "title": "norvik white leather suitcase"},
                    {"id": "b", "title": "red boots"},
                ],
                "steps": True,
            }
        }
    }
)
RERANK_BODY = Body(
    openapi_examples={
        "default": {
            "value": {"query": "onyx norvik suitcase", "documents": ["norvik onyx suitcase", "red boots"], "top_n": 1}
        }
    }
)
CHAT_BODY = Body(
    openapi_examples={
        "default": {
            "value": {
                "messages": [
                    {"role": "user", "content": "Query: suitcase\n\ndoc1:\n  ---\ntitle: norvik leather suitcase\n"}
                ]
            }
        }
    }
)
QUIET = {
    "content-security-policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "connect-src 'self'; frame-ancestors 'none'"
}


class Nothing(Strict):
    """The body `{}`. It is required, because a page in a browser could send a request without a body to loopback."""


def build_app(service: Service, keys: Keys, admin_keys: Keys) -> ASGIApp:
    """The whole application, with the door before it. The service is started and closed with it."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            await service.close()

    app = FastAPI(title="TaoSR-SHE", version=__version__, docs_url=None, redoc_url=None, lifespan=life)

    @app.post("/v1/judge", description="Label, probabilities and expected grade of every candidate of a query.")
    async def judge(request: Request, asked: judging.JudgeRequest = JUDGE_BODY) -> Response:
        return await judging.judge(service, request, asked)

    @app.post("/v2/rerank", include_in_schema=False)
    @app.post("/v1/rerank", description="Documents by relevance, as Cohere and Jina define it.")
    async def rerank_(request: Request, asked: rerank.RerankRequest = RERANK_BODY) -> Response:
        return await rerank.rerank(service, request, asked)

    @app.post("/v1/chat/completions", description="For Quepid, OpenSearch search-relevance and veritail.")
    async def completions(request: Request, asked: chat.ChatRequest = CHAT_BODY) -> Response:
        return await chat.complete(service, request, asked)

    @app.get("/v1/models", description="The model that is served.")
    async def models() -> Response:
        return reply({"object": "list", "data": [model()]})

    @app.get("/v1/models/{name:path}", include_in_schema=False)
    async def one_model(name: str) -> Response:
        judging.check_model(service, name)
        return reply(model())

    @app.get("/healthz", description="Whether the process answers.")
    async def healthz() -> Response:
        return reply({"status": "ok"})

    @app.get("/readyz", description="Whether the service should get requests: model loaded, queue below its bound.")
    async def readyz() -> Response:
        why = service.not_ready
        return reply({"status": "ready"}) if why is None else error(503, f"not ready: {why}")

    @app.get("/metrics", description="Measurements for Prometheus.")
    async def metrics() -> Response:
        return Response(service.metrics.page(), media_type=CONTENT_TYPE_LATEST)

    @app.post("/admin/reload", description="Load the model again, from the same place; the body is {}.")
    async def reload(asked: Nothing) -> Response:
        try:
            return reply({"status": await service.reload()})
        except UserError as wrong:
            return error(409, str(wrong))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(_page(), headers=QUIET)

    def model() -> dict[str, Any]:
        ours = {"domain": service.judge.domain.name, "mode": service.settings.mode}
        return {
            "id": service.name, "object": "model", "created": int(service.loaded), "owned_by": "taosr-she", **ours,
        }  # fmt: skip

    @app.exception_handler(Refused)
    async def refused(_: Request, wrong: Refused) -> Response:
        return error(wrong.status, wrong.line, wrong.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, wrong: RequestValidationError) -> Response:
        return error(422, first_problem(wrong.errors()))

    @app.exception_handler(HTTPException)
    async def http(request: Request, wrong: HTTPException) -> Response:
        said = {
            404: f"no such path: {request.url.path[:80]}; /docs lists them",
            405: f"{request.method} is not allowed here; /docs lists the paths",
            400: "the body cannot be read: send JSON in UTF-8, not nested deeply",
        }
        status = 422 if wrong.status_code == 400 else wrong.status_code
        return error(status, said.get(wrong.status_code, str(wrong.detail)), wrong.headers)

    return Door(app, service, keys, admin_keys)


@cache
def _page() -> str:
    return resources.files("taosr_she.serve").joinpath("page.html").read_text("utf-8")
