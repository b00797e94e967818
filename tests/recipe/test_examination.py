"""Runs with people, a GSRM and a scalar model, through all stages to the report."""

import json
import math
import shutil
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from taosr_she.base.errors import UserError
from taosr_she.data.market.market import MarketConfig
from taosr_she.domain.annotation import read_annotations, write_annotations
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Annotation
from taosr_she.recipe.config import Recipe
from taosr_she.recipe.context import Context
from taosr_she.recipe.data_folder import DataFolder
from taosr_she.recipe.examination import FORMER_ANSWERS
from taosr_she.recipe.progress import Progress
from taosr_she.recipe.stages.market import MarketStage

from .conftest import hybrid_stage, run_toy, toy_recipe

STEPS = ["query", "product", "category", "attributes", "label"]
MONITORED = {
    "gsrm_verdicts", "gsrm_mean", "gsrm_passed", "gsrm_passed_wrong", "probe_verdicts", "probe_agreed",
    "probe_wrong", "probe_wrong_passed", "gsrm_agreement", "gsrm_false_pass", "gsrm_high_label_wrong", "gsrm_drift",
    "reward_drift", "length_factor", "warnings",
}  # fmt: skip


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))


def metrics(stage: Path) -> list[dict[str, Any]]:
    """Rows of the metrics but for the clock."""
    rows = [json.loads(line) for line in (stage / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [{key: value for key, value in row.items() if "second" not in key} for row in rows]


def test_annotations_of_a_store_go_where_their_split_belongs(toy_run: Path) -> None:
    data = DataFolder(toy_run / "stages" / "data")
    counts = read_json(data.folder / "stage.json")["summary"]
    training, development = ({p.pair_id for p in data.pairs(split)} for split in ("training", "development"))
    kept, probe, held_out = data.annotations(), data.probe(), data.held_out()
    said = [{a.pair_id for a in found} for found in (kept, probe, held_out)]
    assert [len(found) for found in (kept, probe, held_out)] == [
        counts[k] for k in ("annotations", "probe", "held_out")
    ]
    assert said[0] | said[1] <= training and not said[0] & said[1] and said[2] == development
    assert len(said[1]) == round(0.2 * round(0.3 * len(training))) and counts["training"] == len(training)
    assert {a.annotator for a in kept} == {"ann", "bob"} and {a.pair_id for a in data.truth()} == said[2]


def test_annotations_of_other_pairs_are_one_line(
    shop: Path, tmp_path: Path, cli: Callable, save_recipe: Callable
) -> None:
    write_annotations(tmp_path / "strangers.jsonl", [Annotation("nobody", "category", "same")])
    recipe = toy_recipe(shop, tmp_path / "run", {})
    recipe["stages"]["data"]["annotations"] = str(tmp_path / "strangers.jsonl")
    code, _, said = cli("run", save_recipe(recipe))
    assert code == 2 and "strangers.jsonl: no annotation belongs to a pair of" in said and said.count("\n") == 1


def test_the_gsrm_is_measured_beside_its_controls(toy_run: Path) -> None:
    report = read_json(toy_run / "stages" / "gsrm" / "examiners.json")
    assert list(report["examiners"]) == ["gsrm", "always_correct", "scalar_reward_model"] and report["notes"] == []
    assert report["responses"] == 2 * report["pairs"] > 0 and report["training"]["examples"] > 0
    names = {"first_error_f1", "accuracy", *(f"accuracy_{key}" for key in STEPS), "ece"}
    for examiner in report["examiners"].values():
        assert names <= set(examiner["metrics"]) == set(examiner["intervals"])
        low, high = examiner["intervals"]["accuracy"]
        assert 0 <= low <= examiner["metrics"]["accuracy"] <= high <= 1
        assert sum(b["count"] for b in examiner["reliability"]) > 0
    assert report["examiners"]["always_correct"]["metrics"]["first_error_clean"] == 1.0
    summary = read_json(toy_run / "stages" / "gsrm" / "stage.json")["summary"]
    assert summary["first_error_f1"] == report["examiners"]["gsrm"]["metrics"]["first_error_f1"]


def test_who_examined_what_reaches_metrics_rollouts_and_summary(toy_run: Path) -> None:
    rows = metrics(toy_run / "stages" / "hybrid")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    for row in rows:
        assert set(row) >= MONITORED and list(row["sources"]) == STEPS
        assert all(sum(shares.values()) == pytest.approx(1) for shares in row["sources"].values())
        assert row["sources"]["label"] == {"human": 1.0}
    category = [row["sources"]["category"] for row in rows]
    assert sum(s.get("human", 0) for s in category) > 0 and sum(s.get("gsrm", 0) for s in category) > 0
    assert sum(row["gsrm_verdicts"] for row in rows) > 0 and sum(row["probe_verdicts"] for row in rows) > 0
    summary = read_json(toy_run / "stages" / "hybrid" / "stage.json")["summary"]
    assert summary["examined_by"] == "human_first"
    assert summary["hit_rate"]["category"] == pytest.approx(sum(s.get("human", 0) for s in category) / len(rows))
    import pyarrow.parquet as pq

    kept = pq.read_table(toy_run / "stages" / "hybrid" / "rollouts" / "00000.parquet", columns=["sources"]).to_pylist()
    by_gsrm = sum(r["sources"][STEPS.index("category")] == "gsrm" for r in kept) / len(kept)
    assert by_gsrm == pytest.approx(category[0].get("gsrm", 0))

    (alone,) = metrics(toy_run / "stages" / "gsrm_only")
    assert not any("human" in shares for shares in alone["sources"].values()) and set(alone) >= MONITORED
    (scalar,) = metrics(toy_run / "stages" / "by_scalar")
    assert all(shares == {"scalar": 1.0} for shares in scalar["sources"].values()) and not set(scalar) & MONITORED
    assert read_json(toy_run / "stages" / "by_scalar" / "stage.json")["summary"]["hit_rate"] == {}


def test_the_run_ends_with_results_and_the_gsrm_in_the_report(toy_run: Path) -> None:
    results = read_json(toy_run / "stages" / "evaluate" / "results.json")
    assert set(results["models"]) == {"sft", "hybrid", "gsrm_only", "by_scalar", "labels"}
    page = (toy_run / "report.html").read_text("utf-8")
    assert 'id="examination"' in page and "First-error F1" in page and "ann, bob" in page


class Interrupted(Progress):
    """Ends the run at the third update of the stage `again`, as Ctrl-C would."""

    def stage(self, name: str, total: int) -> Callable[[int, str], None]:
        def update(done: int, note: str) -> None:
            if name == "again" and done == 3:
                raise KeyboardInterrupt

        return update


def test_an_interrupted_hybrid_stage_resumes_with_the_same_numbers(shop: Path, toy_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy_run, run)
    recipe = toy_recipe(shop, run, {"hybrid": hybrid_stage(4, gsrm="gsrm"), "again": hybrid_stage(4, gsrm="gsrm")})
    with pytest.raises(KeyboardInterrupt):
        run_toy(recipe, Interrupted(Console(quiet=True)))
    stages = run / "stages"
    assert len(metrics(stages / "again")) == 3 and not (stages / "again" / "stage.json").exists()
    run_toy(recipe)
    assert metrics(stages / "again") == metrics(stages / "hybrid")
    weights = [load_file(stages / name / "checkpoint" / "model.safetensors") for name in ("again", "hybrid")]
    assert all(torch.equal(weights[0][name], tensor) for name, tensor in weights[1].items())


def test_a_gsrm_below_the_bar_stops_the_run_with_one_line(
    shop: Path, toy_run: Path, tmp_path: Path, cli: Callable, save_recipe: Callable
) -> None:
    shutil.copytree(toy_run, tmp_path / "run")
    stage = hybrid_stage(1, gsrm="gsrm", override_bar=False, bar=1.0)
    code, out, said = cli("run", save_recipe(toy_recipe(shop, tmp_path / "run", {"strict": stage})))
    f1 = read_json(toy_run / "stages" / "gsrm" / "stage.json")["summary"]["first_error_f1"]
    (line,) = said.strip().splitlines()
    assert code == 2 and out.count("done before, kept") == 4
    assert line.startswith(f"taosr-she: the GSRM reaches a first-error F1 of {f1:.3f}; the bar is 1: train it on more")


def test_a_gsrm_may_read_the_steps(shop: Path, toy_run: Path, tmp_path: Path) -> None:
    """Then it learns from rollouts and from corrupted references and demonstrations as well."""
    shutil.copytree(toy_run, tmp_path / "run")
    recipe = toy_recipe(shop, tmp_path / "run", {})
    recipe["stages"]["gsrm"] |= {
        "gsrm": {"closed_steps": "read"}, "group_size": 2, "corrupted": 20, "corrupted_demonstrations": 30,
    }  # fmt: skip
    run_toy(recipe)
    report = read_json(tmp_path / "run" / "stages" / "gsrm" / "examiners.json")
    people = report["pairs"] and len(
        {a.pair_id for a in DataFolder(tmp_path / "run" / "stages" / "data").annotations()}
    )
    assert report["training"]["rollouts"] == 2 * people and report["training"]["examined"] == 2 * people + 50
    assert all(0 < share < 1 for share in report["training"]["shares_wrong"].values())
    assert report["examiners"]["gsrm"]["metrics"]["known"] == 1.0
    verdicts = [b["value"] for b in report["examiners"]["gsrm"]["reliability"]]
    assert any(0 < value < 1 for value in verdicts), "what is read has a probability"


def test_what_became_of_an_endpoint_s_answers_is_said_and_kept(shop: Path, toy_run: Path, tmp_path: Path) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            text = "\n".join(f"[{key}] as it is\ncorrect" for key in STEPS)
            body = json.dumps({"choices": [{"message": {"content": text}}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    run = tmp_path / "run"
    shutil.copytree(toy_run, run)
    endpoint = {"base_url": f"http://127.0.0.1:{server.server_port}/v1", "model": "m"}
    recipe = toy_recipe(shop, run, {"asked": hybrid_stage(1, mode="gsrm_only", endpoint=endpoint)})
    (run / FORMER_ANSWERS).touch()
    with pytest.raises(UserError, match=r"is now called gsrm-answers\.jsonl: rename it"):
        run_toy(recipe)
    (run / FORMER_ANSWERS).unlink()
    run_toy(recipe)
    server.shutdown()
    server.server_close()
    answers = (run / "gsrm-answers.jsonl").read_text("utf-8").splitlines()
    said = read_json(run / "stages" / "asked" / "stage.json")["summary"]["endpoint"]
    assert answers and said.startswith(f"{len(answers)} of {len(answers)} questions have a usable answer; ")


def test_the_examine_command_with_a_gsrm(toy_run: Path, shop: Path, tmp_path: Path, cli: Callable) -> None:
    rows = [json.loads(line) for line in (shop / "pairs.jsonl").read_text("utf-8").splitlines()[:4]]
    texts = [
        json.loads(line)["response"] for line in (shop / "demonstrations.jsonl").read_text("utf-8").splitlines()[:4]
    ]
    texts[1] = texts[1].replace("[category] other", "[category] same")
    path, out = tmp_path / "responses.jsonl", tmp_path / "examined.jsonl"
    rows[3]["pair_id"] = "nobody-annotated-this"
    path.write_text("".join(json.dumps({**r, "response": t}) + "\n" for r, t in zip(rows, texts, strict=True)), "utf-8")
    gsrm = toy_run / "stages" / "gsrm" / "checkpoint"
    common = ["--gsrm", gsrm, "--domain", toy_run / "domain.yaml", "--out", out, "--device", "cpu"]
    code, said, error = cli("examine", path, *common, "--annotations", shop / "people.db")
    assert (code, error) == (0, "") and "wrote 4 examined responses" in said and "gsrm" in said
    found = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [r["source_label"] for r in found] == ["human"] * 4, "the label's reference is the pair's own"
    assert found[3]["source_category"] == "gsrm" and 0 <= found[3]["verdict_category"] <= 1
    assert all(f"critique_{key}" in r for r in found for key in STEPS)
    first = [next((k for k in STEPS if r[f"verdict_{k}"] is not None and r[f"verdict_{k}"] < 0.5), None) for r in found]
    assert [r["first_error"] for r in found] == first
    code, said, _ = cli("examine", path, *common, "--mode", "gsrm_only")
    found = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert code == 0 and {r[f"source_{key}"] for r in found for key in STEPS} <= {"gsrm", "unknown"}
    code, _, error = cli("examine", path, "--gsrm", toy_run / "stages" / "sft" / "checkpoint", "--out", out)
    assert code == 2 and "it has no gsrm.json; name the checkpoint folder of a GSRM stage" in error


def test_a_market_keeps_a_probe_of_its_annotated_pairs(tmp_path: Path) -> None:
    sizes = {"demonstration_pairs": 10, "training_pairs": 60, "development_pairs": 10, "test_pairs": 10}
    stage = MarketStage(kind="market", market=MarketConfig(**sizes, annotation_coverage=0.3), probe_share=0.2)
    recipe = Recipe(name="x", stages={"data": stage})
    context = Context("data", tmp_path, recipe, load_domain("taobao"), Progress(Console(quiet=True)), tmp_path)
    counts = stage.run(context)
    annotated, probe, held_out = (
        {a.pair_id for a in read_annotations(tmp_path / f"{name}.jsonl")}
        for name in ("annotations", "probe", "held_out")
    )
    assert 5 <= len(annotated) + len(probe) <= 35 and len(probe) == round(0.2 * (len(annotated) + len(probe)))
    assert not annotated & probe and len(held_out) == 10 == counts["development"]
    assert math.isclose(counts["annotations"] / len(annotated), 4, rel_tol=0.01)
