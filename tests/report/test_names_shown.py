"""Names, texts and keys of a run as the page shows them: hostile ones stay text, long ones stay in their place."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from taosr_she.domain.annotation import write_annotations
from taosr_she.domain.pair import Annotation
from taosr_she.report.build import build_report

HOSTILE = '</script></style></title>"\'><img src=x onerror="window.broken=1"><script>window.broken=2</script>'
ODD = HOSTILE + "{{ 7 * 7 }} \x1b[31m \u202e &lt; ${1} \ud800"
"""Also a template, an escape sequence, an override of the writing direction, and half a surrogate pair."""
LONG = "a-name-without-any-place-to-break-" * 5


def renamed(content: Any, names: dict[str, str]) -> Any:
    """`content` with every key and text that is one of `names` replaced."""
    if isinstance(content, dict):
        return {names.get(key, key): renamed(value, names) for key, value in content.items()}
    if isinstance(content, list):
        return [renamed(value, names) for value in content]
    return names.get(content, content) if isinstance(content, str) else content


def edit_json(path: Path, change: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text("utf-8")))), "utf-8")


def with_names(folder: Path, text: str) -> Path:
    """The run with `text` in the place of every name and every free text; stages keep one that a folder can have."""
    stage = text.replace("/", "∕").replace("\ud800", "")[:80]
    names = {"srpo": stage, "tfidf": f"b{text}", "majority": f"c{text}", "negation": f"t{text}", "budget": f"u{text}"}
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text("utf-8"))
    recipe |= {
        "name": text.replace("\ud800", ""),
        "notes": [text.replace("\ud800", "")],
        "stages": renamed(recipe["stages"], names),
    }
    recipe |= {"domain": "/nowhere/" + text.replace("\ud800", "")}
    written = yaml.safe_dump(recipe, sort_keys=False).replace(r"\uD800", "")  # no recipe can hold half a character
    (folder / "recipe.yaml").write_text(written, "utf-8")
    shutil.move(folder / "stages" / "srpo", folder / "stages" / stage)
    for key in ("python", "gpu", "platform"):
        edit_json(folder / "environment.json", lambda content, key=key: content | {key: text})
    edit_json(folder / "environment.json", lambda content: content | {text: "key"})
    rename = {**names, "query": f"q{text}", "4": f"4{text}"}
    results = folder / "stages" / "evaluate" / "results.json"
    edit_json(results, lambda content: renamed(content, rename) | {"notes": [text], "split": text})
    edit_json(
        results, lambda content: {**content, "models": {n: tagged(m, text) for n, m in content["models"].items()}}
    )
    for path in folder.glob("stages/*/stage.json"):
        edit_json(path, lambda content: content | {"summary": {"note": text, text: 1, "by": 0.5}, "fingerprint": text})
    rl = folder / "stages" / stage
    metrics = (rl / "metrics.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in metrics]
    for row in rows:
        row |= {"warnings": [text], "gsrm_agreement": 0.5, "stage": text, "stage_ended": text}
        row["sources"] = {f"q{text}": {"human": 0.5, "gsrm": 0.5}}
    (rl / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    data = folder / "stages" / "data" / "annotations.jsonl"
    people = [
        Annotation(f"p{i}", "query", "x" if who == "z" else "y", annotator=f"{who}{text}".replace("\ud800", ""))
        for i in range(9)
        for who in "xyz"
    ]
    write_annotations(data, people)
    report = {
        "step_keys": [f"q{text}"], "pairs": 3, "responses": 6, "notes": [text],
        "examiners": {"gsrm": {"metrics": {"accuracy": 0.5, "ece": 0.1}, "intervals": {}, "reliability": []}},
    }  # fmt: skip
    gsrm = folder / "stages" / f"gsrm{stage}"[:90]
    gsrm.mkdir()
    (gsrm / "examiners.json").write_text(json.dumps(report), "utf-8")
    (gsrm / "stage.json").write_text(json.dumps({"kind": "gsrm", "seconds": 1.0, "summary": {}}), "utf-8")
    for path in (rl / "rollouts").iterdir():
        table = pq.read_table(path)
        free = text.replace("\ud800", "")
        rows = table.to_pylist()
        for row in rows:
            row |= {"query": free, "product": free, "pair_id": free, "label": free, "predicted": free}
            row |= {"tokens": [free, *row["tokens"][1:]], "response": free + row["response"]}
            row |= {"sources": [free] * len(row["sources"]), "reason": row["reason"] and free}
        pq.write_table(table.from_pylist(rows), path)
    return folder


def tagged(model: dict[str, Any], text: str) -> dict[str, Any]:
    probe = {"macro_f1": 0.5, "clean": 0.6, "changed": 0.1}
    return {**model, "robustness": {text: probe}}


def test_hostile_names_and_texts_are_text_in_every_place(new_run: Callable[..., Path], browser) -> None:
    path = build_report(with_names(new_run(updates=6), ODD))
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    problems, requests = [], []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    assert page.evaluate("window.broken") is None and problems == []
    assert [url for url in requests if not url.startswith(("file://", "data:"))] == []
    assert page.locator("img, iframe, object, embed, main script, main style").count() == 0
    assert page.locator("script").count() == 1 and page.locator("style").count() == 1
    names = page.evaluate("[...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames())")
    assert not [name for name in names if name.startswith("on")]
    assert page.title().startswith(HOSTILE[:40])
    assert r"{{ 7 * 7 }} \x1b[31m \u202e &lt; ${1}" in page.locator("h1").inner_text()
    source = path.read_text("utf-8")
    assert not set(source) & set("\x1b\u202e\ud800") and r"\ud800" in source
    # Head, table, slices, curves, mistakes, examination, responses and run each show it somewhere.
    for place in (".note", ".leads", "#table", "#slices", "#curves", "#mistakes", "#examination", "#responses", "#run"):
        assert "window.broken" in page.locator(place).first.inner_text(), place
    page.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_long_names_fold_in_their_place(new_run: Callable[..., Path], browser, width: int) -> None:
    path = build_report(with_names(new_run(updates=6), LONG))
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # Nothing sticks out of its cell, card or list, boxes that scroll and `pre` aside.
    out = page.evaluate("""[...document.querySelectorAll("th, td, .card, dd, li, p, h1, h3, figcaption, .lead, header")]
        .filter(e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline"
                && !e.matches(".scroll") && !e.querySelector(".scroll, .hidden") && !e.closest("pre, .hidden"))
        .map(e => e.tagName + "." + e.className + " " + e.innerText.slice(0, 40))""")
    assert out == []
    widest = page.evaluate(
        "[...document.querySelectorAll('.scores :is(th:first-child:not([colspan]), .model, thead small, thead b)')]"
        ".map(e => [e.offsetWidth, e.innerText])"
    )
    assert max(widest)[0] <= 320, max(widest)
    page.close()
