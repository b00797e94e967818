"""An endpoint as the users of `taosr-she` meet it: `examine --endpoint`, and a recipe with the LLM teacher."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from taosr_she.cli import main
from taosr_she.domain.domain import load_domain
from taosr_she.examine.store import AnnotationStore

DOMAIN = load_domain("taobao")
RESPONSE = "[query] category: boots\n[product] category: boots\n[category] same\n[attributes] none\n[label] 4"
JUDGEMENT = "\n".join(f"[{key}] as it should be\ncorrect" for key in DOMAIN.step_keys)
Call = Callable[..., int]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Call:
    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["taosr-she", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0)

    return run


@pytest.fixture
def responses(tmp_path: Path) -> Path:
    path = tmp_path / "responses.jsonl"
    rows = [
        {"pair_id": f"p{i}", "query": f"boots {i}", "title": "Boots", "label": "4", "response": RESPONSE}
        for i in range(30)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_examine_sends_no_key_unless_one_is_named(server, call: Call, responses: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-1")
    server.say = lambda h: h.answer(JUDGEMENT)
    out = str(responses.with_name("out.jsonl"))
    command = ["examine", str(responses), "--endpoint", server.url, "--endpoint-model", "m", "--out", out]
    assert call(*command) == 0
    assert {h.get("Authorization") for h in server.headers} == {None}
    shown = " ".join(capsys.readouterr().out.split())
    assert "steps by source: gsrm 120, human 30" in shown  # the label is checked against the pair
    assert "endpoint: 30/30" in shown and "endpoint: 30 of 30 questions have a usable answer; 450 tokens" in shown
    command[command.index(out)] = str(responses.with_name("other.jsonl"))
    assert call(*command, "--api-key-env", "OPENAI_API_KEY") == 0
    assert server.headers[-1]["Authorization"] == "Bearer sk-secret-1"
    assert not any(b"sk-secret-1" in path.read_bytes() for path in responses.parent.iterdir())
    assert call(*command, "--api-key-env", "NOT_THERE") == 2
    assert "environment variable NOT_THERE, which is not set" in capsys.readouterr().err
    assert call(*command, "--api-key-env", "sk-secret-1") == 2  # the key where its name belongs
    said = capsys.readouterr().err
    assert said.startswith("taosr-she: --api-key-env: ") and "sk-secret" not in said
    assert call("examine", str(responses), "--api-key-env", "OPENAI_API_KEY") == 2
    assert "give --endpoint, too" in capsys.readouterr().err


def test_examine_masks_the_url_and_names_the_option(server, call: Call, responses: Path, capsys) -> None:
    url = server.url.replace("//", "//ann:s3cret@") + "?k=hidden99"
    server.say = lambda h: h.send(400, {"error": f"{h.path} failed for ann with s3cret"})
    out = str(responses.with_name("out.jsonl"))
    for address, said in ((url, "5 questions in a row"), ("localhost:8000/v1", "--endpoint: ")):
        assert call("examine", str(responses), "--endpoint", address, "--endpoint-model", "m", "--out", out) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
        assert not any(secret in error for secret in ("s3cret", "hidden99", "ann:"))


@pytest.mark.parametrize("rows", [5, 30])
def test_paid_answers_of_which_none_can_be_used_are_an_error(
    server, call: Call, responses: Path, rows: int, capsys
) -> None:
    server.say = lambda h: h.answer("I cannot help with that.")
    responses.write_text("".join(responses.read_text().splitlines(keepends=True)[:rows]))
    out = str(responses.with_name("out.jsonl"))
    assert call("examine", str(responses), "--endpoint", server.url, "--endpoint-model", "m", "--out", out) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "section [query] missing" in error
    assert ("no usable answer" in error and "15 x" not in error) if rows == 5 else "20 questions in a row" in error
    assert len(server.requests) <= 3 * rows and len(server.requests) < 90


def lesson(h: Any) -> None:
    label = re.search(r"graded this pair (\S+) ", h.body["messages"][1]["content"])[1]  # type: ignore[index]
    h.answer(f"[query] a shoe\n[product] a shoe\n[category] same\n[attributes] shoe: match\n[label] {label}")


def recipe_file(folder: Path, url: str) -> Path:
    rows = [{"pair_id": f"p{i}", "query": f"shoe {i}", "title": "Shoe", "label": "E"} for i in range(20)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with AnnotationStore(folder / "people.db") as store:
        from taosr_she.domain.pair import Annotation

        store.add([Annotation(f"p{i}", "category", "same", annotator="lea") for i in range(20)])
    data = {
        "kind": "pairs", "path": str(folder / "pairs.jsonl"), "teacher": "llm",
        "annotations": f"sqlite:///{folder}/people.db?timeout=77.5",
        "llm": {"base_url": url, "model": "m", "concurrency": 2, "backoff_seconds": 0, "retries": 0},
    }  # fmt: skip
    path = folder / "recipe.yaml"
    path.write_text(
        yaml.safe_dump({"name": "x", "domain": "esci", "out": str(folder / "run"), "stages": {"data": data}})
    )
    return path


def test_a_run_folder_holds_no_secret_and_the_teacher_says_how_far_it_is(
    server, call: Call, tmp_path: Path, capsys
) -> None:
    server.say = lesson
    url = server.url.replace("//", "//ann:s3cret@") + "?k=hidden99"
    recipe = recipe_file(tmp_path, url)
    assert call("run", str(recipe), "--dry-run") == 0
    assert call("run", str(recipe)) == 0
    assert server.headers[0]["Authorization"].startswith("Basic ") and "k=hidden99" in server.paths[0]
    shown = capsys.readouterr()
    assert re.search(r"llm teacher: (\d+)/\1, .*usable", shown.out) and "kept, 0 rejected" in shown.out
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    written = {path.name: path.read_bytes().decode("utf-8", "replace") for path in files}
    assert {"recipe.yaml", "stage.json", "report.html", "llm-answers.jsonl"} <= set(written)
    assert f"http://***@127.0.0.1:{server.server_port}/v1?***" in written["recipe.yaml"]
    for name, text in [*written.items(), ("screen", shown.out + shown.err)]:
        assert not any(secret in text for secret in ("s3cret", "hidden99", "ann:", "77.5")), name
    asked = len(server.requests)
    recipe.write_text(recipe.read_text().replace("s3cret", "changed"))
    assert call("run", str(recipe)) == 0
    assert "data: done before, kept" in capsys.readouterr().out and len(server.requests) == asked


def test_what_an_endpoint_says_is_text_on_the_screen(server, call: Call, tmp_path: Path, capsys) -> None:
    server.say = lambda h: h.send(400, {"error": "[/red] [bold]no"}) if h.number == 3 else lesson(h)
    assert call("run", str(recipe_file(tmp_path, server.url))) == 0
    assert "1 x refused: status 400: [/red] [bold]no" in " ".join(capsys.readouterr().out.split())


def test_a_teacher_without_one_usable_answer_ends_the_recipe(server, call: Call, tmp_path: Path, capsys) -> None:
    server.say = lambda h: h.answer("I cannot help with that.")
    assert call("run", str(recipe_file(tmp_path, server.url))) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "the LLM teacher wrote no usable demonstration" in error
    assert "no sections" in error and "llm-answers.jsonl" in error


def test_reports_of_older_run_folders_are_masked(server, call: Call, tmp_path: Path) -> None:
    server.say = lesson
    url = server.url.replace("//", "//ann:s3cret@")
    assert call("run", str(recipe_file(tmp_path, url))) == 0
    written = tmp_path / "run" / "recipe.yaml"
    written.write_text(written.read_text().replace("***@", "ann:s3cret@"))
    assert call("report", str(tmp_path / "run")) == 0
    assert "s3cret" not in (tmp_path / "run" / "report.html").read_text()
