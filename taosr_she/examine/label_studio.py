"""Annotations as Label Studio tasks (its JSON format), and the labelling configuration for them.

A task shows one pair and, for verdicts, the steps of one response; with empty steps it asks for references. The
configuration has three controls per step, from which results are read back:

| control | tag | holds |
| --- | --- | --- |
| `verdict_<step>` | Choices | correct, wrong, unsure or cannot_tell |
| `conclusion_<step>` | TextArea | the right conclusion: the correction of a verdict, or the reference |
| `note_<step>` | TextArea | a remark |

People's records are a task's `annotations`, those of programs (`machine:...`) its `predictions`. Label Studio knows
neither our annotators (imported annotations belong to whoever imports them) nor our times, so both are in the `meta` of
each verdict. Without it, as in annotations made in Label Studio, the annotator is `completed_by`, the time
`updated_at`.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

from taosr_she.domain.annotation import VERDICTS, BadAnnotation, annotation_from_row
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Annotation, Pair
from taosr_she.domain.prompt import render_pair
from taosr_she.examine.majority import MACHINE

Row = dict[str, Any]
SOURCES = ("annotations", "completions", "predictions")
"""Where a task keeps the annotations; versions before 1.0 had `completions` for `annotations`."""
CONTROLS = ("verdict", "conclusion", "note")


def labeling_config(domain: Domain) -> str:
    """The XML to paste under Settings > Labeling Interface > Code of the Label Studio project."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Text", name="pair", value="$pair")
    for number, step in enumerate(domain.steps, start=1):
        block = ElementTree.SubElement(view, "View", style="margin-top: 1em")
        ElementTree.SubElement(block, "Header", value=f"{number}. {step.title}", size="4")
        if step.guide:
            ElementTree.SubElement(block, "Header", value=step.guide, size="6")
        shown = f"text_{step.key}"
        ElementTree.SubElement(block, "Text", name=shown, value=f"${shown}")
        choices = {"name": f"verdict_{step.key}", "toName": shown, "choice": "single", "showInline": "true"}
        verdicts = ElementTree.SubElement(block, "Choices", choices)
        for verdict in VERDICTS:
            ElementTree.SubElement(verdicts, "Choice", value=verdict)
        for control, asked in (
            ("conclusion", "the right conclusion, if nothing or a wrong one is shown"),
            ("note", "note"),
        ):
            area = {"name": f"{control}_{step.key}", "toName": shown, "placeholder": asked}
            ElementTree.SubElement(block, "TextArea", area, rows="1", maxSubmissions="1", editable="true")
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def tasks_from_annotations(domain: Domain, annotations: Iterable[Annotation], pairs: Mapping[str, Pair]) -> list[Row]:
    """Tasks in the order of their first record. `pairs` must have every annotated pair."""
    found: dict[tuple[str, str, str, bool], list[tuple[Row, dict[str, str]]]] = {}  # tasks with the texts they show
    tasks: list[Row] = []
    for a in annotations:
        judged = bool(a.response_id) or (a.verdict == "wrong" and bool(a.conclusion))
        alike = found.setdefault((a.pair_id, a.response_id, a.guideline_version, judged), [])
        text = a.conclusion if judged else ""
        task, shown = next((t for t in alike if t[1].get(a.step, text) == text), (None, {}))
        if task is None:
            task = _empty_task(domain, a, pairs[a.pair_id])
            alike.append((task, shown))
            tasks.append(task)
        shown[a.step] = task["data"][f"text_{a.step}"] = text
        _say(task, a, judged)
    for task in tasks:
        for entry in task["annotations"] + task["predictions"]:
            del entry["said"]
    return tasks


def is_json_min(tasks: list[Any]) -> bool:
    """Whether this is Label Studio's JSON-MIN, which has no `data` and leaves out the annotators."""
    return bool(tasks) and all(isinstance(t, dict) and "data" not in t and "annotation_id" in t for t in tasks)


def annotations_from_task(domain: Domain, task: Any) -> Iterator[Annotation | tuple[BadAnnotation, Any]]:
    """The records of a task; for each that cannot be read, the reason and its part of the task.

    Skipped (`was_cancelled`) annotations and controls of other names are ignored, and so are predictions of which
    Label Studio exports only the id.
    """
    data = task.get("data") if isinstance(task, dict) else None
    if not isinstance(data, dict):
        yield BadAnnotation("not an object", "a task is an object with an object `data`"), task
        return
    for source in SOURCES:
        entries = task.get(source) or []
        for entry in entries if isinstance(entries, list) else [entries]:
            if source == "predictions" and isinstance(entry, int):
                continue
            if isinstance(entry, dict) and isinstance(entry.get("result"), list):
                if not entry.get("was_cancelled") and not entry.get("skipped"):
                    yield from _from_entry(domain, data, entry, source)
            else:
                yield BadAnnotation("not an object", f"one of `{source}` is no object with a list `result`"), entry


def _empty_task(domain: Domain, a: Annotation, pair: Pair) -> Row:
    shown = render_pair(domain, pair).removesuffix(domain.prompt.answer_heading).strip()
    ids = {"pair_id": a.pair_id, "response_id": a.response_id, "guideline_version": a.guideline_version}
    texts = {f"text_{key}": "" for key in domain.step_keys}
    return {"data": {**ids, "pair": shown, **texts}, "annotations": [], "predictions": []}


def _say(task: Row, a: Annotation, judged: bool) -> None:
    """Put a record into the first entry of its annotator and time that does not speak of the step yet."""
    machine = a.annotator.startswith(MACHINE)
    entries = task["predictions" if machine else "annotations"]
    entry = next((e for e in entries if e["said"][:2] == (a.annotator, a.time) and a.step not in e["said"][2]), None)
    if entry is None:
        entry = {"said": (a.annotator, a.time, set()), "result": []}
        if machine:
            entry["model_version"] = a.annotator.removeprefix(MACHINE)
        entries.append(entry)
    entry["said"][2].add(a.step)
    meta = {"annotator": a.annotator, "time": a.time}
    if a.correction and not judged:  # its place is taken by the reference
        meta["correction"] = a.correction
    number = len(entry["result"])
    verdict = _result(f"verdict_{a.step}", a.step, number, "choices", a.verdict)
    entry["result"].append(verdict | {"meta": meta})
    for control, text in (("conclusion", a.correction if judged else a.conclusion), ("note", a.note)):
        if text:
            entry["result"].append(_result(f"{control}_{a.step}", a.step, number, "textarea", text))


def _result(name: str, step: str, number: int, kind: str, value: str) -> Row:
    inner = {"choices": [value]} if kind == "choices" else {"text": [value]}
    return {"id": f"{name}-{number}", "from_name": name, "to_name": f"text_{step}", "type": kind, "value": inner}


def _from_entry(domain: Domain, data: Row, entry: Row, source: str) -> Iterator[Annotation | tuple[BadAnnotation, Any]]:
    steps: dict[str, Row] = {}
    for result in entry["result"]:
        try:
            control, step, text = _control(result)
        except BadAnnotation as bad:
            yield bad, result
            continue
        if control:
            said = steps.setdefault(step, {})
            said[control] = text
            if control == "verdict":
                said["meta"] = result.get("meta")
    for step, said in steps.items():
        try:
            if step not in domain.step_keys:
                raise BadAnnotation("unknown step", f"{step!r} is none of {', '.join(domain.step_keys)}")
            yield _record(data, step, said, entry, source)
        except BadAnnotation as bad:
            yield bad, {"data": data, "step": step, **said}


def _control(result: Any) -> tuple[str, str, str]:
    """(control, step, value) of a result; control is "" when it is none of ours."""
    name = result.get("from_name") if isinstance(result, dict) else None
    if not isinstance(name, str):
        raise BadAnnotation("not an object", "a result is an object with a text `from_name`")
    control, _, step = name.partition("_")
    if control not in CONTROLS or not step:
        return "", "", ""
    value = result.get("value")
    values = value.get("choices" if control == "verdict" else "text") if isinstance(value, dict) else None
    values = [values] if isinstance(values, str) else values
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise BadAnnotation("wrong type", f"the value of {name} is not a list of texts")
    if control == "verdict" and len(values) != 1:
        raise BadAnnotation("unknown verdict", f"{name} has {len(values)} choices, not one")
    return control, step, "\n".join(values)


def _record(data: Row, step: str, said: Row, entry: Row, source: str) -> Annotation:
    meta = said.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    shown, written = data.get(f"text_{step}") or "", said.get("conclusion", "")
    judged = bool(data.get("response_id") or shown)
    if judged and "verdict" not in said:
        raise BadAnnotation("missing field", f"no verdict on step {step}")
    if not judged and not written and "verdict" not in said:
        raise BadAnnotation("missing field", f"neither conclusion nor verdict for step {step}")
    if not judged and written and said.get("verdict") == "wrong":
        raise BadAnnotation("unknown verdict", f"'wrong' on step {step}, for which the task shows no text")
    return annotation_from_row(
        {
            "pair_id": data.get("pair_id"),
            "step": step,
            "conclusion": shown if judged else written,
            "verdict": said.get("verdict", "correct"),
            "correction": written if judged else meta.get("correction"),
            "note": said.get("note"),
            "annotator": meta.get("annotator", _annotator(entry, source)),
            "time": meta.get("time", _time(entry)),
            "guideline_version": data.get("guideline_version"),
            "response_id": data.get("response_id"),
        }
    )


def _time(entry: Row) -> Any:
    time = entry.get("updated_at") or entry.get("created_at")
    if isinstance(time, int) and 0 <= time < 1 << 33:  # versions before 1.0: seconds since 1970
        return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return time


def _annotator(entry: Row, source: str) -> str:
    if source == "predictions":
        return f"{MACHINE}{entry.get('model_version') or 'label-studio'}"
    by = entry.get("completed_by")
    if isinstance(by, dict):
        by = by.get("email") or by.get("id")
    return "" if by is None else by if isinstance(by, str) else f"label-studio:{by}"
