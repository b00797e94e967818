"""The HTTP service of the annotation page: a FastAPI app over a desk.

A person is known by the token of their link, which the page takes from the part of the address after `#` (browsers
never send that part) and sends as `Authorization: Bearer`. So no token is in a log, and no other site can act for a
person.
"""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException as StarletteHTTPException

from taosr_she.annotate.answers import said_of, take_in
from taosr_she.annotate.critiques import critique_effect
from taosr_she.annotate.desk import Desk
from taosr_she.annotate.export import EXPORTS, export_to
from taosr_she.annotate.lead import agreement, disagreements, overview, settle
from taosr_she.annotate.people import Person, add_person, find_person, remove_person
from taosr_she.annotate.pool import LEASE_SECONDS, MOST_HELD, hand_out
from taosr_she.annotate.progress import progress_of
from taosr_she.annotate.protect import Protect
from taosr_she.annotate.shown import guideline, shown_item, step_shapes
from taosr_she.annotate.wire import Answers, Items, Problem, Saved, Start
from taosr_she.annotate.wire_lead import (
    Agreement,
    CritiqueEffect,
    Disagreements,
    Done,
    FormerPerson,
    Link,
    NewPerson,
    Overview,
)
from taosr_she.base.errors import UserError
from taosr_she.base.escape import one_line

if TYPE_CHECKING:
    from sqlalchemy import Connection

PAGE = Path(__file__).with_name("page")
FILES = {
    "/": ("annotate.html", "text/html; charset=utf-8"),
    "/lead": ("lead.html", "text/html; charset=utf-8"),
    "/annotate.css": ("annotate.css", "text/css; charset=utf-8"),
    "/shared.js": ("shared.js", "text/javascript; charset=utf-8"),
    "/outbox.js": ("outbox.js", "text/javascript; charset=utf-8"),
    "/item.js": ("item.js", "text/javascript; charset=utf-8"),
    "/editor.js": ("editor.js", "text/javascript; charset=utf-8"),
    "/annotate.js": ("annotate.js", "text/javascript; charset=utf-8"),
    "/lead.js": ("lead.js", "text/javascript; charset=utf-8"),
}
"""Path -> file of the page and its type. Nothing else is served."""


def create_app(desk: Desk, guideline_text: str = "", lease: float = LEASE_SECONDS) -> FastAPI:
    """The app. The desk must have a domain (items were queued); raises UserError otherwise."""
    domain = desk.domain()
    app = FastAPI(title="taosr-she annotate", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Protect)
    _errors(app)

    def somebody(authorization: Annotated[str, Header()] = "") -> Person:
        kind, _, token = authorization.partition(" ")
        person = find_person(desk, token.strip()) if kind.casefold() == "bearer" else None
        if person is None:
            raise HTTPException(401, "this link is not valid, or no longer: ask the lead for a new one")
        return person

    def the_lead(person: Annotated[Person, Depends(somebody)]) -> Person:
        if person.role != "lead":
            raise HTTPException(403, "this is for leads; your link is an annotator's")
        return person

    for path, (name, kind) in FILES.items():
        content = (PAGE / name).read_bytes()
        app.add_api_route(path, _file(content, kind), methods=["GET", "HEAD"], include_in_schema=False)

    @app.get("/api/start")
    def start(person: Annotated[Person, Depends(somebody)]) -> Start:
        rules = guideline(domain, guideline_text)
        return Start(name=person.name, role=person.role, steps=step_shapes(domain), guideline=rules)

    @app.get("/api/items")
    def items(
        person: Annotated[Person, Depends(somebody)],
        count: Annotated[int, Query(ge=1, le=MOST_HELD)] = 10,
        again: bool = False,
    ) -> Items:
        held = hand_out(desk, person.name, count, again, lease)

        def look(connection: "Connection") -> Items:
            shown = [
                shown_item(domain, number, item, said_of(desk, connection, person.name, number))
                for number, item in held.items()
            ]
            return Items(items=shown, progress=progress_of(desk, connection, person.name))

        return desk.read(look)

    @app.post("/api/answers")
    def answers(person: Annotated[Person, Depends(somebody)], body: Answers) -> Saved:
        return take_in(desk, domain, person.name, body.answers, lease)

    @app.get("/api/lead/overview")
    def lead_overview(person: Annotated[Person, Depends(the_lead)]) -> Overview:
        return overview(desk)

    @app.get("/api/lead/agreement")
    def lead_agreement(person: Annotated[Person, Depends(the_lead)]) -> Agreement:
        return agreement(desk, domain)

    @app.get("/api/lead/critiques")
    def lead_critiques(person: Annotated[Person, Depends(the_lead)]) -> CritiqueEffect:
        return critique_effect(desk)

    @app.get("/api/lead/disagreements")
    def lead_disagreements(person: Annotated[Person, Depends(the_lead)]) -> Disagreements:
        return disagreements(desk, domain)

    @app.post("/api/lead/answers")
    def lead_answers(person: Annotated[Person, Depends(the_lead)], body: Answers) -> Saved:
        return settle(desk, domain, person.name, body.answers)

    @app.post("/api/lead/people")
    def lead_people(person: Annotated[Person, Depends(the_lead)], body: NewPerson) -> Link:
        token = add_person(desk, body.name, body.role)
        return Link(name=body.name.strip(), role=body.role, token=token)

    @app.post("/api/lead/people/remove")
    def lead_remove(person: Annotated[Person, Depends(the_lead)], body: FormerPerson) -> Done:
        if body.name == person.name:
            raise UserError("you cannot withdraw your own link; another lead can")
        remove_person(desk, body.name)
        return Done()

    @app.get("/api/lead/export/{layout}")
    def lead_export(person: Annotated[Person, Depends(the_lead)], layout: str) -> Response:
        if layout not in EXPORTS:
            raise HTTPException(404, f"layout '{one_line(layout)[:40]}' is none of {', '.join(EXPORTS)}")
        folder = tempfile.TemporaryDirectory()
        try:
            path = Path(folder.name) / EXPORTS[layout]
            export_to(desk, domain, layout, path)
        except BaseException:
            folder.cleanup()
            raise
        return FileResponse(path, filename=path.name, background=BackgroundTask(folder.cleanup))

    return app


def _file(content: bytes, kind: str) -> Any:
    def serve() -> Response:
        return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    return serve


def _errors(app: FastAPI) -> None:
    """Every error is one clear line."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return _problem(422, f"the body is not JSON: {first['ctx']['error']}")
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        message = str(first["msg"]).removeprefix("Value error, ")
        return _problem(422, f"{where}: {message}" if where else message)

    @app.exception_handler(StarletteHTTPException)
    async def refused(request: Request, error: StarletteHTTPException) -> JSONResponse:
        return _problem(error.status_code, str(error.detail))

    @app.exception_handler(UserError)
    async def user_error(request: Request, error: UserError) -> JSONResponse:
        return _problem(409, str(error))


def _problem(status: int, message: str) -> JSONResponse:
    return JSONResponse(Problem(error=one_line(message)).model_dump(), status_code=status)
