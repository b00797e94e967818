"""The section on examination: what it reads, and when it is left out."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from taosr_she.base.errors import UserError
from taosr_she.domain.annotation import write_annotations
from taosr_she.domain.pair import Annotation
from taosr_she.examine.verdicts import SOURCES
from taosr_she.report.build import build_report
from taosr_she.report.examination import ORDER, Examination, examination
from taosr_she.report.examination_plots import MAX_COLUMNS, MAX_RADIUS, reliability_chart, sources_chart
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
    """A run folder with a GSRM stage, two rows of hybrid training, and three annotators, one of them poisoned."""
    for stage, kind in (("data", "market"), ("gsrm", "gsrm"), ("hybrid", "rl")):
        (tmp_path / "stages" / stage).mkdir(parents=True)
        record = {"kind": kind, "seconds": 1.0, "fingerprint": "x", "summary": {"hit_rate": {"query": 0.25}}}
        (tmp_path / "stages" / stage / "stage.json").write_text(json.dumps(record))
    examination = {"mode": "human_first", "gsrm": "gsrm", "bar": 0.7, "override_bar": True}
    stages = {
        "data": {"kind": "market"}, "gsrm": {"kind": "gsrm"}, "hybrid": {"kind": "rl", "examination": examination},
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(json.dumps({"name": "x", "domain": "taobao", "stages": stages}))
    report = {
        "step_keys": list(STEPS), "pairs": 20, "responses": 40, "notes": ["Something was left out."],
        "examiners": {"gsrm": examiner(0.8, 0.1), "always_correct": examiner(0.0, 0.3)},
    }  # fmt: skip
    (tmp_path / "stages/gsrm/examiners.json").write_text(json.dumps(report))
    rows = [
        {"step": n, "reward": 0.5, "gsrm_agreement": 0.9, "sources": {"query": {"human": n / 4, "gsrm": 1 - n / 4}},
         "warnings": [f"the GSRM agrees in {n}0% of the steps", "<b>responses</b> are longer"][: 3 - n]}
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


def read(run: Path) -> Examination:
    data = load_run(run)
    return examination(data, read_names(data))


def test_everything_is_read(run: Path) -> None:
    found = read(run)
    (card,) = found.gsrms
    assert [e.name for e in card.examiners] == ["GSRM", "Always correct"]
    assert card.notes == ["Something was left out."]
    assert card.used_by == ["hybrid (human_first, bar 70.0, which need not be reached)"]
    cells = {row.key: [(c.text, c.interval, c.best) for c in row.cells] for row in card.rows}
    assert cells["first_error_f1"] == [("80.0", "[70.0, 90.0]", True), ("0.0", "[-10.0, 10.0]", False)]
    assert [best for *_, best in cells["ece"]] == [True, False], "lower is better"
    assert not any(best for *_, best in cells["first_error_flawed"]), "no merit by itself"
    assert "first_error_clean" not in cells and "accuracy_category" in cells
    (column,) = found.sources
    assert column.shares["query"] == [("human", 37.5), ("gsrm", 62.5)] and column.hit_rate["query"] == "25.0"
    assert found.legend == ["human", "gsrm"] and found.steps == [("query", "Query understanding")]
    (warned,) = found.warnings
    assert (warned.name, warned.updates, warned.of) == ("hybrid", 2, 2)
    assert [update for update, _ in warned.lines] == [1, 1, 2] and found.watched == ["hybrid"]
    (people,) = found.people
    assert [a.annotator for a in people.outliers] == ["cy"]
    assert [(two.names, two.items) for two in people.agreement] == [("ann, bo", 200), ("ann, cy", 200), ("bo, cy", 200)]
    assert people.steps == ["Category match"] and people.agreement[1].raw == "60.0"


def test_the_page_shows_it(run: Path) -> None:
    page = build_report(run).read_text("utf-8")
    for said in (
        'id="examination"', '<a href="#examination">', "stands out", "Agreement with held-out people", "First-error F1",
        "Update 2: the GSRM agrees in 20% of the steps", "&lt;b&gt;responses&lt;/b&gt; are longer",
        "differs from the majority of the others on 40.0% of 200 items", "P 0.00: 20% of 3 verdicts right",
        "verdicts by source, update 1: human 25%, gsrm 75%; update 2: human 50%, gsrm 50%",
    ):  # fmt: skip
        assert said in page, said
    assert page.count('<i class="by-gsrm" style="width:62.50%">') == 1


def test_the_page_fits_a_phone(run: Path, browser) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto(build_report(run).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#examination figure svg").count() == 3
    page.close()


def without_gsrm(run: Path) -> None:
    (run / "stages/gsrm/examiners.json").unlink()
    rows = [{"step": n, "reward": 0.5, "sources": {"query": {"human": 1.0}}} for n in (1, 2)]
    (run / "stages/hybrid/metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def one_annotator(run: Path) -> None:
    said = [Annotation("p1", "category", "same", annotator=name) for name in ("ann", "machine:lexical")]
    write_annotations(run / "stages/data/annotations.jsonl", said)


def test_a_run_with_one_annotator_and_no_gsrm_has_no_such_section(run: Path) -> None:
    without_gsrm(run)
    one_annotator(run)
    assert "#examination" not in build_report(run).read_text("utf-8")


def test_two_annotators_or_a_gsrm_alone_are_shown(run: Path) -> None:
    without_gsrm(run)
    two = [Annotation(f"p{n}", "category", "same", annotator=name) for n in range(3) for name in ("ann", "bo")]
    write_annotations(run / "stages/data/annotations.jsonl", two)
    page = build_report(run).read_text("utf-8")
    assert "ann, bo" in page and "if two differ, it is unknown who is wrong" in page
    assert "Warnings of the monitors" not in page and "stands out" not in page
    (run / "stages/data/annotations.jsonl").unlink()
    rows = [{"step": 1, "reward": 0.5, "sources": {"query": {"gsrm": 1.0}}, "gsrm_agreement": None, "warnings": []}]
    (run / "stages/hybrid/metrics.jsonl").write_text(
        json.dumps(rows[0]) + "\n"
    )  # behind an endpoint: no examiners.json
    page = build_report(run).read_text("utf-8")
    assert "Who examined in training" in page and "No update gave a warning." in page


@pytest.mark.parametrize("content", ["{", "[]", '{"examiners": {}}', '{"step_keys": [], "examiners": {"gsrm": {}}}'])
def test_a_broken_gsrm_file_is_one_line(run: Path, content: str) -> None:
    (run / "stages/gsrm/examiners.json").write_text(content)
    with pytest.raises(UserError, match=r"examiners\.json") as error:
        read(run)
    assert "\n" not in str(error.value) and "again" in str(error.value)


def test_without_a_domain_agreement_is_a_gap(run: Path) -> None:
    recipe = json.loads((run / "recipe.yaml").read_text()) | {"domain": "/nowhere.yaml"}
    (run / "recipe.yaml").write_text(json.dumps(recipe))
    assert "annotators of data agree needs the domain" in build_report(run).read_text("utf-8")


def test_every_source_has_its_place() -> None:
    assert set(ORDER) == set(SOURCES)


def parsed(svg: object) -> ET.Element:
    return ET.fromstring(str(svg))


def test_reliability_dots_lie_at_their_values_and_their_area_is_their_share() -> None:
    bins = [{"value": 0.0, "right": 0.0, "count": 25}, {"value": 1.0, "right": 1.0, "count": 75}]
    root = parsed(reliability_chart("Judge", "by-gsrm", bins))
    low, high = (e for e in root.iter("circle"))
    radii = [float(dot.get("r", 0)) for dot in (low, high)]
    assert radii[1] / radii[0] == pytest.approx(3**0.5, abs=0.02) and max(radii) < MAX_RADIUS
    (diagonal,) = (e for e in root.iter("line") if e.get("class") == "calibrated")
    assert (diagonal.get("x1"), diagonal.get("y1")) == (low.get("cx"), low.get("cy"))
    assert (diagonal.get("x2"), diagonal.get("y2")) == (high.get("cx"), high.get("cy"))
    assert not list(parsed(reliability_chart("x", "sb", bins[1:])).iter("polyline")), "one dot needs no line"


@pytest.mark.parametrize("updates", [1, 7, 100])
def test_columns_of_sources_fill_the_chart(updates: int) -> None:
    shares = [{"human": 0.25 if n % 2 else 0.75, "gsrm": 0.75 if n % 2 else 0.25} for n in range(updates)]
    root = parsed(sources_chart("hybrid", list(range(1, updates + 1)), shares))
    heights: dict[str, float] = {}
    for bar in root.iter("rect"):
        heights[bar.get("x", "")] = heights.get(bar.get("x", ""), 0) + float(bar.get("height", 0))
    assert len(heights) == min(updates, MAX_COLUMNS)
    assert all(height == pytest.approx(180 - 10 - 26, abs=0.2) for height in heights.values())


def trained_further(run: Path) -> None:
    """A stage that trained the GSRM by reinforcement learning, with two examples of what it examined."""
    folder = run / "stages/better"
    folder.mkdir()
    (folder / "stage.json").write_text(json.dumps({"kind": "gsrm_rl", "seconds": 1.0, "fingerprint": "x"}))
    recipe = json.loads((run / "recipe.yaml").read_text())
    recipe["stages"]["better"] = {"kind": "gsrm_rl"}
    (run / "recipe.yaml").write_text(json.dumps(recipe))
    rows = [{"step": n, "reward": 0.5 + n / 10} for n in (1, 2, 3)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def example(kind: str, critique: str | None) -> dict[str, Any]:
        step = {"step": "category", "text": "<i>same</i>", "people": 1.0, "gsrm": 0.25, "critique": critique}
        return {"kind": kind, "pair_id": "p", "query": "<script>alert(1)</script>", "product": "boot", "steps": [step]}

    report = {
        "step_keys": list(STEPS), "pairs": 20, "responses": 40, "notes": [],
        "examiners": {"gsrm": examiner(0.85, 0.1), "start": examiner(0.8, 0.1), "always_correct": examiner(0.0, 0.3)},
        "differences": {"start": {"first_error_f1": [0.05, 0.01, 0.09]}},
        "examples": [example("invented", "near"), example("found", None)],
    }  # fmt: skip
    (folder / "examiners.json").write_text(json.dumps(report))


def test_a_gsrm_trained_further_is_shown_beside_its_start_with_its_critiques(run: Path) -> None:
    trained_further(run)
    before, card = read(run).gsrms
    assert (before.change, before.reward, before.shown) == ("", None, [])
    assert [e.name for e in card.examiners] == ["GSRM", "GSRM at the start", "Always correct"]
    assert card.change == "+5.0 [+1.0, +9.0]" and card.reward is not None
    assert [one.kind for one in card.shown] == ["Error invented", "First error found"]
    step = card.shown[0].steps[0]
    assert (step.mark, step.verdict, step.critique) == ("wrong", "wrong, P 0.25; people: right", "near")
    page = build_report(run).read_text("utf-8")
    assert "2 responses with the critiques of better" in page and "critique: near" in page and "no critique" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page and "&lt;i&gt;same&lt;/i&gt;" in page
    assert "changed the first-error F1 by +5.0 [+1.0, +9.0] percentage points" in page


def test_an_unknown_kind_of_example_is_refused_in_one_line(run: Path) -> None:
    trained_further(run)
    path = run / "stages/better/examiners.json"
    report = json.loads(path.read_text())
    report["examples"][0]["kind"] = "guessed"
    path.write_text(json.dumps(report))
    with pytest.raises(UserError, match="not what a `gsrm_rl` stage writes"):
        read(run)
