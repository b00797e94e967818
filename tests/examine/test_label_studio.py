from typing import Any
from xml.etree import ElementTree

import pytest

from taosr_she.domain.annotation import BadAnnotation
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.domain.pair import Annotation, Pair, Product
from taosr_she.examine.label_studio import annotations_from_task, labeling_config, tasks_from_annotations

DOMAIN = load_domain("taobao")
PAIRS = {"p1": Pair("p1", "q1", "red boots", Product("ruby boots <sale>", brand="norvik"))}


def made_in_label_studio() -> dict[str, Any]:
    """An exported task as Label Studio's documentation shows it, annotated with our configuration."""

    def result(name: str, value: dict[str, Any]) -> dict[str, Any]:
        kind, step = ("choices" if "choices" in value else "textarea"), name.partition("_")[2]
        return {
            "id": "Dx_aB91ISN", "from_name": name, "to_name": f"text_{step}", "type": kind, "value": value,
            "origin": "manual",
        }  # fmt: skip

    data = {"pair_id": "p1", "response_id": "r1", "guideline_version": "1", "pair": "Query: red boots"}
    shown = {"text_query": "category: boots", "text_category": "near", "text_product": "", "text_label": None}
    return {
        "id": 1, "created_at": "2021-03-09T21:52:49Z", "project": 83, "data": data | shown,
        "annotations": [
            {
                "id": 1001, "was_cancelled": False, "ground_truth": False, "lead_time": 4.2, "completed_by": 10,
                "created_at": "2021-03-09T22:16:08Z", "updated_at": "2021-03-09T22:17:08Z",
                "result": [
                    result("verdict_query", {"choices": ["correct"]}),
                    result("verdict_category", {"choices": ["wrong"]}),
                    result("conclusion_category", {"text": ["same"]}),
                    result("note_category", {"text": ["boots are", "boots"]}),
                    result("difficulty", {"choices": ["easy"]}),  # a control of the user's own
                ],
            },
            {"id": 1002, "was_cancelled": True, "result": [], "completed_by": {"id": 4, "email": "x@y.z"}},
            {
                "id": 1003, "completed_by": {"id": 5, "email": "ben@shop.org"}, "created_at": "2021-03-10",
                "result": [result("verdict_query", {"choices": ["unsure"]})],
            },
        ],
        "predictions": [{"model_version": "v1", "result": [result("verdict_category", {"choices": ["correct"]})]}],
    }  # fmt: skip


def read(task: Any, domain: Domain = DOMAIN) -> tuple[list[Annotation], list[tuple[str, Any]]]:
    found = list(annotations_from_task(domain, task))
    good = [a for a in found if isinstance(a, Annotation)]
    return good, [(bad[0].reason, bad[1]) for bad in found if not isinstance(bad, Annotation)]


def test_annotations_made_in_label_studio() -> None:
    query = Annotation("p1", "query", "category: boots", guideline_version="1", response_id="r1")
    assert read(made_in_label_studio()) == (
        [
            Annotation(*_with(query, annotator="label-studio:10", time="2021-03-09T22:17:08Z")),
            Annotation(
                "p1", "category", "near", "wrong", "same", "boots are\nboots", "label-studio:10",
                "2021-03-09T22:17:08Z", "1", "r1",
            ),
            Annotation(*_with(query, verdict="unsure", annotator="ben@shop.org", time="2021-03-10")),
            Annotation("p1", "category", "near", "correct", "", "", "machine:v1", "", "1", "r1"),
        ],
        [],
    )  # fmt: skip


def _with(annotation: Annotation, **changes: str) -> list[str]:
    from dataclasses import astuple, replace

    return list(astuple(replace(annotation, **changes)))


def test_references_made_in_label_studio_need_no_verdict() -> None:
    task = made_in_label_studio()
    task["data"] |= {"response_id": "", "text_query": "", "text_category": ""}
    assert [reason for reason, _ in read(task)[1]] == ["unknown verdict"]  # nothing is shown that could be wrong
    task["annotations"][0]["result"] = task["annotations"][0]["result"][2:3]
    reference = read(task)[0][0]
    assert (reference.step, reference.conclusion, reference.verdict) == ("category", "same", "correct")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.pop("data"), "not an object"),
        (lambda t: t["data"].pop("pair_id"), "missing field"),
        (lambda t: t["annotations"].insert(0, {"id": 3}), "not an object"),
        (lambda t: t["annotations"][0]["result"].pop(1), "missing field"),  # no verdict on a shown step
        (lambda t: t["annotations"][0]["result"][0]["value"].update(choices=["maybe"]), "unknown verdict"),
        (lambda t: t["annotations"][0]["result"][0]["value"].update(choices=["wrong", "correct"]), "unknown verdict"),
        (lambda t: t["annotations"][0]["result"][0].update(value=3), "wrong type"),
        (lambda t: t["annotations"][0]["result"][0].update(from_name="verdict_colour"), "unknown step"),
        (lambda t: t["annotations"][0]["result"][0].pop("from_name"), "not an object"),
        (lambda t: t["data"].update(text_query=["a list"]), "wrong type"),
    ],
)
def test_a_bad_part_costs_itself_alone(change: Any, reason: str) -> None:
    task = made_in_label_studio()
    change(task)
    good, bad = read(task)
    assert bad and {r for r, _ in bad} == {reason}
    assert len(good) + len(bad) == (1 if "data" not in task else 5 if len(task["annotations"]) == 4 else 4)


def test_tasks_show_what_is_judged_and_keep_people_and_programs_apart() -> None:
    said = [
        Annotation("p1", "category", "near", "wrong", "same", "", "ann", "t1", "1", "r1"),
        Annotation("p1", "query", "category: boots", "correct", "", "", "ann", "t1", "1", "r1"),
        Annotation(
            "p1", "category", "near", "correct", annotator="machine:gsrm", guideline_version="1", response_id="r1"
        ),
        Annotation("p1", "category", "same", annotator="ann", guideline_version="1"),
        Annotation("p1", "category", "other", annotator="ben", guideline_version="1"),
    ]  # fmt: skip
    judged, asked = tasks_from_annotations(DOMAIN, said, PAIRS)
    assert judged["data"]["text_category"] == "near" and judged["data"]["text_query"] == "category: boots"
    assert "red boots" in judged["data"]["pair"] and "norvik" in judged["data"]["pair"]
    assert [len(e["result"]) for e in judged["annotations"]] == [3]  # two verdicts, one correction
    assert [e["model_version"] for e in judged["predictions"]] == ["gsrm"]
    assert {v for k, v in asked["data"].items() if k.startswith("text_")} == {""}
    assert len(asked["annotations"]) == 2


@pytest.mark.parametrize("name", ["taobao", "esci", "wands"])
def test_the_configuration_names_what_tasks_hold(name: str) -> None:
    domain = load_domain(name)
    root = ElementTree.fromstring(labeling_config(domain))
    names = {e.get("name"): e.tag for e in root.iter() if e.get("name")}
    step = domain.step_keys[0]
    [task] = tasks_from_annotations(
        domain, [Annotation("p1", step, "x", "wrong", "y", "z", "ann", response_id="r")], PAIRS
    )
    values = {e.get("value", "").removeprefix("$") for e in root.iter("Text")}
    assert values <= set(task["data"])
    for result in task["annotations"][0]["result"]:
        assert names[result["from_name"]] == {"choices": "Choices", "textarea": "TextArea"}[result["type"]]
        assert names[result["to_name"]] == "Text"
    for key in domain.step_keys:
        choices = root.find(f".//Choices[@name='verdict_{key}']")
        assert choices is not None and [c.get("value") for c in choices] == [
            "correct",
            "wrong",
            "unsure",
            "cannot_tell",
        ]
        assert choices.get("toName") == f"text_{key}"


def test_bad_annotation_is_told_with_its_task_part() -> None:
    [(bad, raw)] = [x for x in annotations_from_task(DOMAIN, 3) if not isinstance(x, Annotation)]
    assert isinstance(bad, BadAnnotation) and raw == 3


def test_predictions_that_are_bare_ids_cost_nothing() -> None:
    task = made_in_label_studio()
    with_predictions = read(task)[0]
    task |= {"predictions": [286, 287], "drafts": []}
    assert read(task) == ([a for a in with_predictions if a.annotator != "machine:v1"], [])
    task["annotations"].append(7)  # an annotation of which only the id is there is lost, and said to be
    assert read(task)[1] == [("not an object", 7)]


def test_tasks_of_versions_before_1() -> None:
    task = made_in_label_studio()
    expected = [a for a in read(task)[0] if a.annotator != "machine:v1"]
    old = [dict(entry) for entry in task.pop("annotations")]
    for entry in old:
        entry["skipped"] = entry.pop("was_cancelled", False)
        entry.pop("updated_at", None)
        entry["created_at"] = 1_615_328_228
    del task["predictions"]
    found, rejected = read(task | {"completions": old})
    assert rejected == [] and {a.time for a in found} == {"2021-03-09T22:17:08Z"}
    assert [_with(a, time="") for a in found] == [_with(a, time="") for a in expected]
