"""Online verification in whole recipes: simulated people, a kill, a replay, a GSRM trained further, people by HTTP."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from annotation_page import Server
from rich.console import Console

from taosr_she.annotate.desk import Desk
from taosr_she.annotate.online.record import said_in
from taosr_she.annotate.people import add_person
from taosr_she.recipe.config import Recipe
from taosr_she.recipe.progress import Progress
from taosr_she.recipe.run import run_recipe

SAMPLING = {"max_new_tokens": 60}
PROMPT = {
    "instruction": "", "show_labels": False, "show_rules": False, "show_format": False,
    "fields": [{"name": "title", "heading": "Title"}, {"name": "price", "heading": "Price"}],
}  # fmt: skip
ASKING = {
    "policies": {"uncertain": 1, "random": 1}, "each_update": 12, "open": 40, "max_age": 3,
    "people": {"delay": [1, 2], "at_once": 3},
}  # fmt: skip


def rl(updates: int, **online: Any) -> dict[str, Any]:
    settings = {
        "updates": updates, "pairs_per_update": 4, "group_size": 4, "checkpoint_every": 2, "keep_rollouts_every": 1,
        "credit": {"rule": "srpo"}, "sampling": SAMPLING,
    }  # fmt: skip
    return {"kind": "rl", "examination": {"gsrm": "gsrm", "override_bar": True, "online": online}, "settings": settings}


def recipe(out: Path, **stages: Any) -> dict[str, Any]:
    gsrm = {
        "kind": "gsrm", "sampling": SAMPLING, "resamples": 100,
        "settings": {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3},
    }  # fmt: skip
    return {
        "name": "online", "seed": 1, "out": str(out), "threads": 1, "domain_overrides": {"prompt": PROMPT},
        "stages": {
            "data": {
                "kind": "market", "probe_share": 0.2,
                "market": {
                    "demonstration_pairs": 300, "training_pairs": 20, "development_pairs": 10, "test_pairs": 2,
                    "annotation_coverage": 0.5, "departments": 2,
                },
            },
            "sft": {
                "kind": "sft",
                "tiny": {"hidden": 64, "layers": 1, "heads": 2, "kv_heads": 1, "ffn": 128},
                "settings": {"epochs": 6, "batch_size": 16, "learning_rate": 1e-2},
            },
            "gsrm": gsrm,
            **stages,
        },
    }  # fmt: skip


def further(**more: Any) -> dict[str, Any]:
    return {
        "kind": "gsrm", "continues": "gsrm", "sampling": SAMPLING, "resamples": 100,
        "settings": {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3}, **more,
    }  # fmt: skip


def run(content: dict[str, Any]) -> Path:
    with Progress(Console(quiet=True)) as shown:
        return run_recipe(Recipe.model_validate(content), shown).parent


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Rows of the metrics but for the clock."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [{key: value for key, value in row.items() if "second" not in key} for row in rows]


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with data, SFT and GSRM, from which the others go on."""
    return run(recipe(tmp_path_factory.mktemp("online") / "run"))


@pytest.fixture(scope="module")
def whole(begun: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    shutil.copytree(begun, out)
    return run(recipe(out, asked=rl(8, **ASKING), gsrm2=further(answers=["asked"])))


def test_people_are_asked_and_heard_while_it_trains(whole: Path) -> None:
    rows = rows_of(whole / "stages" / "asked")
    summary = read(whole / "stages" / "asked" / "stage.json")["summary"]["online"]
    assert summary["asked"] > 20 and summary["answered"] > 10 and summary["waited"] >= 2
    assert summary["answered"] == sum(row["online_answered"] for row in rows)
    people = [sum(row["sources"][step].get("human", 0) for step in ("query", "category")) for row in rows]
    assert sum(people[-3:]) > sum(people[:3])  # pairs come back, and people have spoken about them
    probes = {json.loads(line)["pair_id"] for line in (whole / "stages/data/probe.jsonl").read_text().splitlines()}
    said = said_in(whole / "stages" / "asked" / "online.jsonl")
    assert {a.annotator for a in said} <= {"ada", "ben", "cleo"} and not probes & {a.pair_id for a in said}
    assert sum(row["probe_verdicts"] for row in rows) > 0
    assert "Asked during the training" in (whole / "report.html").read_text("utf-8")
    with Desk(whole / "online-asked.db") as desk:
        assert set(desk.store.select()) == set(said)


def test_the_gsrm_learns_from_the_answers(whole: Path) -> None:
    first, second = (read(whole / "stages" / name / "examiners.json") for name in ("gsrm", "gsrm2"))
    assert second["training"]["examined"] > first["training"]["examined"]
    assert second["training"]["examples"] > first["training"]["examples"] and second["responses"] == first["responses"]
    weights = [
        (whole / "stages" / name / "checkpoint" / "model.safetensors").read_bytes() for name in ("gsrm", "gsrm2")
    ]
    assert weights[0] != weights[1]


def test_killed_and_resumed_it_has_the_same_numbers(
    whole: Path, begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from taosr_she.annotate.online.online import Online

    class Killed(BaseException):
        pass

    out = tmp_path / "run"
    shutil.copytree(begun, out)
    real = Online.before
    for update in (1, 4, 7):

        def dies(self: Online, number: int, update: int = update) -> None:
            real(self, number)
            if number == update:
                raise Killed

        monkeypatch.setattr(Online, "before", dies)
        with pytest.raises(Killed):
            run(recipe(out, asked=rl(8, **ASKING)))
    monkeypatch.undo()
    run(recipe(out, asked=rl(8, **ASKING)))
    assert rows_of(out / "stages" / "asked") == rows_of(whole / "stages" / "asked")
    names = [f"stages/asked/{name}" for name in ("checkpoint/model.safetensors",)]
    assert all((out / name).read_bytes() == (whole / name).read_bytes() for name in names)


def test_a_replay_has_the_same_numbers_and_asks_nobody(whole: Path, begun: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(begun, out)
    told = {key: value for key, value in ASKING.items() if key != "people"}
    run(recipe(out, again=rl(8, **told, replay=str(whole / "stages/asked/online.jsonl"))))
    assert rows_of(out / "stages" / "again") == rows_of(whole / "stages" / "asked")
    assert not list(out.glob("*.db"))


def test_mistakes_are_one_line(begun: Path, cli: Callable, save_recipe: Callable, tmp_path: Path) -> None:
    def said(**stages: Any) -> str:
        code, _, error = cli("run", save_recipe(recipe(tmp_path / "run", **stages)))
        assert code == 2 and error.count("\n") == 1
        return error

    assert "answers: 'sft' asks nobody" in said(gsrm2=further(answers=["sft"]))
    assert "needs an earlier gsrm or gsrm_rl stage called 'sft'" in said(gsrm2=further(continues="sft"))
    nowhere = str(tmp_path / "none.jsonl")
    assert f"online.replay: {nowhere}: no such file" in said(asked=rl(2, **{**ASKING, "people": None}, replay=nowhere))
    store = "postgresql+pg8000://me:secret@localhost/x"
    told = said(asked=rl(2, **{**ASKING, "people": None}, store=store))
    assert "the driver is not installed: pg8000" in told and "secret" not in told
    pairs = {"kind": "pairs", "path": str(tmp_path / "none.jsonl"), "teacher": "none"}
    told = said(other=pairs, asked=rl(2, **ASKING) | {"data": "other"})
    assert "online.people are simulated by the market" in told and "'other' is of kind `pairs`" in told


@pytest.mark.slow
def test_real_people_answer_over_http_and_a_kill_changes_nothing(begun: Path, tmp_path: Path) -> None:
    """A training in a process, the page in another, people who answer by HTTP; the training is killed with SIGKILL and
    run again. Its numbers are those of its record: a replay, in one go and without people, has the same."""
    out, file = tmp_path / "run", tmp_path / "recipe.yaml"
    shutil.copytree(begun, out)
    told = {key: value for key, value in ASKING.items() if key != "people"}
    content = recipe(out, asked=rl(60, **told | {"max_age": 10}))
    file.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")

    def start() -> subprocess.Popen:
        command = [sys.executable, "-m", "taosr_she.cli", "run", str(file)]
        return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)

    def reached(update: int) -> bool:
        metrics = out / "stages/asked/metrics.jsonl"
        return metrics.is_file() and metrics.read_text("utf-8").count("\n") >= update

    training = start()
    store = out / "online-asked.db"
    deadline = time.monotonic() + 200
    while not reached(1):
        assert training.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    with Desk(store) as desk:
        tokens = [add_person(desk, name) for name in ("ann", "bob")]
    page = Server(store).start()
    ended = threading.Event()
    sent: list[int] = [0, 0]

    def person(n: int) -> None:
        client = httpx.Client(base_url=page.url, headers={"Authorization": f"Bearer {tokens[n]}"}, timeout=30)
        while not ended.is_set():
            for item in client.get("/api/items", params={"count": 3}).json()["items"]:
                answers = [
                    {"kind": "judge", "key": f"p{n}-{item['id']}-{step['key']}", "item": item["id"],
                     "step": step["key"], "verdict": "correct" if len(step["text"]) % 3 else "wrong"}
                    for step in item["steps"] if step["asked"]
                ]  # fmt: skip
                saved = client.post("/api/answers", json={"answers": answers}).json()
                assert saved["refused"] == []
                sent[n] += len(answers)
            time.sleep(0.1)

    people = [threading.Thread(target=person, args=(n,)) for n in range(2)]
    for thread in people:
        thread.start()
    try:
        for update in (11, 27):
            while not reached(update):
                assert training.poll() is None and time.monotonic() < deadline
                time.sleep(0.01)
            training.send_signal(signal.SIGKILL)
            training.wait()
            training = start()
        assert training.wait(timeout=200) == 0
    finally:
        ended.set()
        for thread in people:
            thread.join()
        page.kill()
        training.kill()
    summary = read(out / "stages/asked/stage.json")["summary"]["online"]
    assert summary["answered"] > 20 and sum(sent) >= summary["answered"]
    said = said_in(out / "stages/asked/online.jsonl")
    with Desk(store) as desk:
        assert set(said) <= set(desk.store.select())  # the last ones may have come after the end
    again = tmp_path / "again"
    shutil.copytree(begun, again)
    replayed = rl(60, **told | {"max_age": 10}, replay=str(out / "stages/asked/online.jsonl"))
    run(recipe(again, asked=replayed))
    assert rows_of(again / "stages/asked") == rows_of(out / "stages/asked")
