"""The section on examination: what it reads, and when it is left out."""

import json
from pathlib import Path
from typing import Any

import pytest

from taosr_she.domain.annotation import write_annotations
from taosr_she.domain.pair import Annotation
from taosr_she.report.build import build_report
from taosr_she.report.judging import judging
from taosr_she.report.load import load_run
from taosr_she.report.names import read_names

STEPS = ("query", "product", "category", "attributes", "label")


def examiner(f1: float, ece: float) -> dict[str, Any]:
    metrics = {"first_error_f1": f1, "first_error_flawed": 0.8, "first_error_clean": None, "accuracy": 0.9, "ece": ece}
    metrics |= {f"accuracy_{key}": 0.9 for key in STEPS}
    bins = [{"low": 0.0, "high": 0.1, "count": 3, "value": 0.0, "right": 0.2},
            {"low": 0.9, "high": 1.0, "count": 9, "value": 1.0, "right": 0.9}]  # fmt: skip
    return {"metrics": metrics, "intervals": {"first_error_f1": [f1 - 0.1, f1 + 0.1]}, "reliability": bins}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with a judge stage, two rows of hybrid training, and three annotators, one of them poisoned."""
    for stage, kind in (("data", "market"), ("judge", "judge"), ("hybrid", "rl")):
        (tmp_path / "stages" / stage).mkdir(parents=True)
        record = {"kind": kind, "seconds": 1.0, "fingerprint": "x", "summary": {"hit_rate": {"query": 0.25}}}
        (tmp_path / "stages" / stage / "stage.json").write_text(json.dumps(record))
    stages = {"data": {"kind": "market"}, "judge": {"kind": "judge"}, "hybrid": {"kind": "rl"}}
    (tmp_path / "recipe.yaml").write_text(json.dumps({"name": "x", "domain": "taobao", "stages": stages}))
    report = {
        "step_keys": list(STEPS), "pairs": 20, "responses": 40, "notes": ["Something was left out."],
        "examiners": {"judge": examiner(0.8, 0.1), "always_correct": examiner(0.0, 0.3)},
    }  # fmt: skip
    (tmp_path / "stages/judge/judge.json").write_text(json.dumps(report))
    rows = [
        {"step": n, "reward": 0.5, "judge_agreement": 0.9, "sources": {"query": {"human": n / 4, "judge": 1 - n / 4}},
         "warnings": [f"the judge agrees in {n}0% of the steps"]}
        for n in (1, 2)
    ]  # fmt: skip
    (tmp_path / "stages/hybrid/metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    said = [
        Annotation(f"p{n}", "category", "near" if name == "cy" and n % 5 < 2 else "same", annotator=name)
        for n in range(200)
        for name in ("ann", "bo", "cy")
    ]
    write_annotations(tmp_path / "stages/data/annotations.jsonl", said)
    return tmp_path


def test_everything_is_read(run: Path) -> None:
    data = load_run(run)
    found = judging(data, read_names(data))
    (card,) = found.judges
    assert card.examiners == ["Judge", "Always correct"] and card.notes == ["Something was left out."]
    cells = {row.name: row.cells for row in card.rows}
    assert cells["First-error F1"] == [("80.0", "[70.0, 90.0]", True), ("0.0", "[-10.0, 10.0]", False)]
    assert [best for *_, best in cells["Calibration error"]] == [True, False]  # lower is better
    assert cells["Passes what is right"] == [("–", "", False)] * 2
    ((_, stage, rows),) = found.sources
    assert stage == "hybrid" and rows[0].shares == [("human", 37.5), ("judge", 62.5)] and rows[0].hit_rate == "25%"
    (warning,) = found.warnings  # the two differ in a number alone
    assert (warning.text, warning.count, warning.first, warning.last) == (
        "the judge agrees in 20% of the steps", 2, 1, 2,
    )  # fmt: skip
    (people,) = found.people
    assert [a.annotator for a in people.annotators if a.outlier] == ["cy"]


def test_the_page_shows_it(run: Path) -> None:
    page = build_report(run).read_text("utf-8")
    assert 'id="judging"' in page and "stands out" in page and "Agreement with held-out people" in page
    assert page.count('class="from judge"') == 1


def test_a_run_without_judge_has_no_such_section(run: Path) -> None:
    (run / "stages/judge/judge.json").unlink()
    (run / "stages/data/annotations.jsonl").unlink()
    assert 'id="judging"' not in build_report(run).read_text("utf-8")
