"""Whole runs in a real process: all stages, and kills at random moments."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from taosr_she.data.read import read_pairs

SMALL = [
    "smoke", "stages.data.market.demonstration_pairs=400", "stages.sft.settings.epochs=4",
    "stages.sft.settings.save_every=10", "stages.grpo.settings.updates=12", "stages.srpo.settings.updates=12",
    "stages.hybrid.settings.updates=12", "track=tensorboard",
]  # fmt: skip


def start(out: Path) -> subprocess.Popen:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "taosr_she.cli", "run", *SMALL, f"out={out}"]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, float]:
    out = tmp_path_factory.mktemp("whole") / "run"
    started = time.monotonic()
    output = finish(start(out))
    return out, output, time.monotonic() - started


def final(out: Path) -> dict[str, object]:
    """What must not depend on interruptions: results, predictions, weights, and metrics but for the clock."""
    content: dict[str, object] = {}
    for path in sorted((out / "stages").rglob("*")):
        name = str(path.relative_to(out))
        if path.suffix == ".safetensors" or path.name.startswith("predictions-"):
            content[name] = path.read_bytes()
        elif path.name == "results.json":
            results = json.loads(path.read_text())
            for model in results["models"].values():
                model["metrics"].pop("tokens_per_second", None)
                model["metrics"].pop("training_tokens_per_second", None)
                model["metrics"].pop("pairs_per_second", None)
            content[name] = results
        elif path.name == "metrics.jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            content[name] = [{k: v for k, v in r.items() if "second" not in k} for r in rows]
    return content


@pytest.mark.slow
def test_a_run_ends_with_the_table_and_the_report(whole: tuple[Path, str, float]) -> None:
    out, output, _ = whole
    assert "macro-F1" in output and "srpo" in output and str(out / "report.html") in output.replace("\n", "")
    page = (out / "report.html").read_text()
    assert page.count("<html") == 1 and "smoke" in page
    for name in (
        "data",
        "sft",
        "grpo",
        "srpo",
        "chosen",
        "staged",
        "rejection",
        "dpo",
        "scalar_reward_model",
        "gsrm",
        "gsrm_rl",
        "hybrid",
        "evaluate",
    ):
        assert json.loads((out / "stages" / name / "stage.json").read_text())["name"] == name
    rows = [json.loads(line) for line in (out / "stages/srpo/metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows] == list(range(1, 13))
    assert max(r["signal_share"] for r in rows) > 0, "the small run must meet groups with signal, or it tests nothing"
    gsrm = json.loads((out / "stages/gsrm/examiners.json").read_text())
    assert {"gsrm", "always_correct"} <= gsrm["examiners"].keys()
    low, high = gsrm["examiners"]["gsrm"]["intervals"]["accuracy"]
    assert low <= gsrm["examiners"]["gsrm"]["metrics"]["accuracy"] <= high
    rows = [json.loads(line) for line in (out / "stages/hybrid/metrics.jsonl").read_text().splitlines()]
    sources = {source for row in rows for source in row["sources"]["query"]}
    assert {"human", "gsrm"} <= sources and all(row["sources"]["label"] == {"human": 1.0} for row in rows)
    assert sum(row["probe_verdicts"] for row in rows) > 0 and rows[-1]["gsrm_agreement"] is not None
    assert 'id="examination"' in page
    rows = [json.loads(line) for line in (out / "stages/staged/metrics.jsonl").read_text().splitlines()]
    assert [(r["step"], r["stage"]) for r in rows if r["stage_ended"]] == [(3, "steps"), (7, "all")]
    assert all("refills" in r for r in rows) and "Curriculum of" in page
    varied, chosen = ({p.pair_id for p in read_pairs(out / f"stages/{s}/selected.jsonl")} for s in ("varied", "chosen"))
    assert len(varied) == 60 and len(chosen) == 54 and chosen < varied


@pytest.mark.slow
def test_killed_at_three_random_moments_it_ends_with_the_same_numbers(
    whole: tuple[Path, str, float], tmp_path: Path
) -> None:
    reference, _, seconds = whole
    out = tmp_path / "run"
    moments = [random.uniform(0.2, 0.9) * seconds for _ in range(3)]
    print(f"killed after {', '.join(f'{m:.1f}' for m in moments)} s of {seconds:.1f} s")
    killed = 0
    for moment in moments:
        process = start(out)
        time.sleep(moment)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.communicate()
    assert killed >= 1
    finish(start(out))
    expected, found = final(reference), final(out)
    assert expected.keys() == found.keys()
    for name in expected:
        assert found[name] == expected[name], f"{name} differs after the kills"
    for path in out.glob("stages/*/metrics.jsonl"):
        events = EventAccumulator(str(out / "track" / "tensorboard" / path.parent.name), size_guidance={"scalars": 0})
        events.Reload()
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        told = [(e.step, e.value) for e in events.Scalars("loss")]
        assert told == [(row["step"], pytest.approx(row["loss"], rel=1e-6)) for row in rows], path.parent.name
    log = (out / "run.log").read_text()
    assert 2 <= log.count("INFO taosr-she 0.") <= 4 and log.count("evaluate: done in") == 1, "a line a sitting"


@pytest.mark.slow
def test_a_finished_run_is_kept_and_a_changed_stage_runs_anew_with_what_depends_on_it(
    whole: tuple[Path, str, float],
) -> None:
    out, _, _ = whole
    before = {p: p.stat().st_mtime_ns for p in (out / "stages").rglob("stage.json")}
    assert finish(start(out)).count("done before, kept") == 16
    assert before == {p: p.stat().st_mtime_ns for p in (out / "stages").rglob("stage.json")}
    command = [
        sys.executable, "-m", "taosr_she.cli", "run", *SMALL, f"out={out}", "stages.srpo.settings.learning_rate=3e-4",
        "--dry-run",
    ]  # fmt: skip
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-16:]
    assert [line.split()[2] for line in lines] == ["kept", "kept", "kept", "runs", *["kept"] * 10, "runs", "runs"]


@pytest.mark.slow
def test_a_gsrm_below_the_bar_stops_the_run_with_one_line(whole: tuple[Path, str, float]) -> None:
    out, _, _ = whole
    strict = ["stages.hybrid.examination.override_bar=false", "stages.hybrid.examination.bar=1"]
    command = [sys.executable, "-m", "taosr_she.cli", "run", *SMALL, f"out={out}", *strict]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert "the GSRM reaches a first-error F1 of" in done.stderr or "has no first-error F1" in done.stderr
