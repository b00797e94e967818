"""The HTTP service: links, one clear line for every mistake, headers, and the files in all layouts."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from annotation_page import DOMAIN, Server, plain_item

from taosr_she.annotate.app import FILES, create_app
from taosr_she.annotate.desk import Desk
from taosr_she.annotate.items import add_items
from taosr_she.bench.annotate.load import write
from taosr_she.bench.annotate.store import fill
from taosr_she.domain.pair import Annotation
from taosr_she.examine.interchange import import_annotations


@pytest.fixture
def client(desk: Desk) -> Iterator:
    from starlette.testclient import TestClient

    with TestClient(create_app(desk, "Read <b>everything</b>.")) as opened:
        yield opened


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def judge(item: int, key: str = "key-0001", **more) -> dict:
    return {"kind": "judge", "key": key, "item": item, "step": "query", "verdict": "correct", **more}


def test_an_annotators_way_through(client: httpx.Client, link) -> None:
    me = bearer(link("ann"))
    start = client.get("/api/start", headers=me).json()
    assert (start["name"], start["role"], start["guideline"]["version"]) == ("ann", "annotator", "1")
    assert start["guideline"]["text"] == "Read <b>everything</b>." and len(start["guideline"]["rules"]) == 14
    assert [s["key"] for s in start["steps"]] == list(DOMAIN.step_keys)
    assert [o["value"] for o in start["steps"][2]["options"]] == ["same", "near", "accessory", "other"]
    found = client.get("/api/items?count=2", headers=me).json()
    assert [item["id"] for item in found["items"]] == [1, 2]
    first = found["items"][0]
    assert first["query"] == "red boot 1" and first["fields"][1] == {
        "heading": "Price", "text": "45", "rows": [], "fold": 400
    }  # fmt: skip
    assert not {"reason", "gold", "examined", "wanted"} & first.keys()  # blind
    saved = client.post("/api/answers", headers=me, json={"answers": [judge(1)]}).json()
    assert saved == {"saved": ["key-0001"], "refused": []}
    again = client.get("/api/items?count=2", headers=me).json()
    assert again["items"][0]["steps"][0]["said"]["verdict"] == "correct"
    assert again["progress"]["steps_judged"] == 1


def test_nobody_sees_what_others_said(client: httpx.Client, desk: Desk, link) -> None:
    add_items(desk, [plain_item(50, wanted=2)])
    ann, bob = bearer(link("ann")), bearer(link("bob"))
    for me in (ann, bob):
        client.get("/api/items?count=50", headers=me)
    client.post("/api/answers", headers=ann, json={"answers": [judge(11, verdict="wrong", note="secret")]})
    shown = client.get("/api/items?count=50", headers=bob)
    assert [item["id"] for item in shown.json()["items"]] == [11]
    assert "secret" not in shown.text and shown.json()["items"][0]["steps"][0]["said"] is None


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("{", 422, "the body is not JSON: "),
        ("[]", 422, "Input should be a valid dictionary"),
        ({"answers": []}, 422, "answers: List should have at least 1 item"),
        ({"answers": [judge(1) | {"colour": 1}]}, 422, "answers.0.colour: Extra inputs"),
        ({"answers": [judge(1, key="short")]}, 422, "answers.0.key: String should match pattern"),
        ({"answers": [judge(1, note="a\x00b")]}, 422, "answers.0.note: contains a null character"),
        ({"answers": [judge(1, note="x" * 5000)]}, 422, "answers.0.note: String should have at most 4000 characters"),
        ({"answers": [judge(2**70)]}, 422, "answers.0.item: Input should be less than"),
        ({"answers": [judge(1, seconds="NaN")]}, 422, "answers.0.seconds: Input should be"),
        ({"answers": [judge(1)] * 201}, 422, "answers: List should have at most 200 items"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line(client: httpx.Client, link, body, status: int, said: str) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    answer = client.post(
        "/api/answers", headers=bearer(link("ann")) | {"Content-Type": "application/json"}, content=content
    )
    assert answer.status_code == status
    assert set(answer.json()) == {"error"} and "\n" not in answer.json()["error"]
    assert answer.json()["error"].startswith(said), answer.json()


def test_links_work_only_for_whom_and_as_long_as_they_should(client: httpx.Client, desk: Desk, link) -> None:
    token = link("ann")
    assert client.get("/api/items").status_code == 401
    assert client.get("/api/items", headers={"Authorization": f"Basic {token}"}).status_code == 401
    assert client.get("/api/items", headers=bearer(token[:-1])).status_code == 401
    assert client.get("/api/lead/overview", headers=bearer(token)).json() == {
        "error": "this is for leads; your link is an annotator's"
    }
    renewed = link("ann")
    assert client.get("/api/items", headers=bearer(token)).status_code == 401
    assert client.get("/api/items", headers=bearer(renewed)).status_code == 200
    lead = bearer(link("lea", "lead"))
    client.post("/api/lead/people/remove", headers=lead, json={"name": "ann"})
    assert client.get("/api/items", headers=bearer(renewed)).status_code == 401
    for name, problem in (("lea", "cannot withdraw your own link"), ("nobody", "no person 'nobody' in it")):
        answer = client.post("/api/lead/people/remove", headers=lead, json={"name": name})
        assert answer.status_code == 409 and problem in answer.json()["error"]
    for name in ("", "machine:gsrm", "settled:lea", "a\u202eb"):
        assert client.post("/api/lead/people", headers=lead, json={"name": name}).status_code == 409
    dump = b"".join(path.read_bytes() for path in Path(desk.store.name).parent.glob("people.db*"))
    assert renewed.encode() not in dump  # only its hash is stored


def test_a_browser_may_run_only_the_pages_own_files(client: httpx.Client, link) -> None:
    for path in (*FILES, "/api/start", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
    assert client.get("/api/start", headers=bearer(link("ann"))).headers["Cache-Control"] == "no-store"
    for path in ("/docs", "/openapi.json", "/../desk.py", "/annotate.py"):
        assert client.get(path).status_code == 404
    folder = Path(create_app.__code__.co_filename).parent / "page"
    assert {path.name for path in folder.iterdir()} == {name for name, _ in FILES.values()}
    text = "".join(path.read_text("utf-8") for path in folder.iterdir())
    for risky in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "http://",
        "https://",
        "style=",
    ):
        assert risky not in text.replace("// crypto.randomUUID exists only on https and localhost.", "")


def test_a_huge_request_is_not_read(client: httpx.Client, link) -> None:
    answer = client.post("/api/answers", headers=bearer(link("ann")), content=b"x" * (5 * 1024 * 1024))
    assert (answer.status_code, answer.json()) == (413, {"error": "a request has at most 4 MiB, and says its length"})


@pytest.mark.parametrize("layout", ["jsonl", "label_studio", "stepwise"])
def test_exports_come_back_as_they_were(client: httpx.Client, desk: Desk, link, layout, tmp_path: Path) -> None:
    me, lead = bearer(link("ann")), bearer(link("lea", "lead"))
    client.get("/api/items", headers=me)
    answers = [
        judge(1, verdict="wrong", conclusion="category: boots", note="<b>"),
        judge(2, "key-0002", verdict="cannot_tell"),
    ]  # fmt: skip
    client.post("/api/answers", headers=me, json={"answers": answers})
    answer = client.get(f"/api/lead/export/{layout}", headers=lead)
    assert answer.status_code == 200 and "attachment" in answer.headers["Content-Disposition"]
    path = tmp_path / "export"
    path.write_bytes(answer.content)
    imported = import_annotations(path, layout, DOMAIN)
    assert not imported.rejected and set(imported.annotations) == set(desk.store.select())


def test_an_export_that_needs_foreign_pairs_says_what_to_do(client: httpx.Client, desk: Desk, link) -> None:
    lead = bearer(link("lea", "lead"))
    desk.store.add([Annotation("elsewhere", "category", "same", annotator="ann")])
    assert client.get("/api/lead/export/jsonl", headers=lead).status_code == 200
    answer = client.get("/api/lead/export/stepwise", headers=lead)
    assert answer.status_code == 409 and "--layout stepwise --pairs PAIRS" in answer.json()["error"]
    assert client.get("/api/lead/export/xml", headers=lead).status_code == 404
    assert b"<View>" in client.get("/api/lead/export/label_studio_config", headers=lead).content


@pytest.mark.slow
def test_five_writers_lose_nothing_while_a_reader_reads(tmp_path: Path) -> None:
    """50,000 verdicts over HTTP; prints the rate."""
    store = tmp_path / "people.db"
    tokens = fill(store, 11_500)
    server = Server(store).start()
    try:
        load = write(server.url, store, tokens, 10_000, 5)
    finally:
        server.kill()
    print(f"\n{load.rate:,.0f} verdicts/s, {load.reads} passes of the reader")
    assert load.sent == 50_000
    assert load.counts == sorted(load.counts) and load.reads > 3
    with Desk(store) as desk:
        said = desk.read(
            lambda c: c.exec_driver_sql("select count(*), count(distinct person || key) from annotate_answers").one()
        )
        assert tuple(said) == (50_000, 50_000)
        assert desk.store.count() == 50_000
        assert {name: desk.store.count(annotator=name) for name in tokens} == dict.fromkeys(tokens, 10_000)
