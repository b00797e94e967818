"""The page as a person meets it, in a real browser where there is one."""

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from taosr_she.base.errors import UserError
from taosr_she.report import build
from taosr_she.report.build import build_report, duration
from taosr_she.report.glossary import term_of
from taosr_she.report.names import COLOURS, METRICS


@pytest.fixture(scope="module")
def page_path(shared_run: Path) -> Path:
    return build_report(shared_run)


def test_the_page_in_a_browser(page_path: Path, browser) -> None:
    problems, requests = [], []
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(page_path.as_uri())
    assert page.title() == "demo · TaoSR-SHE report"
    assert page.locator(".response").count() == 30
    assert page.locator("figure svg").count() == 12
    # Hostile titles stay text.
    assert page.evaluate("window.broken") is None
    assert page.locator("main img, main script").count() == 0
    assert page.get_by_text("<script>window.broken = 1</script>").count() > 0
    for button in page.locator("[data-filter]").all():
        kind, count = button.get_attribute("data-filter"), int(button.locator("b").inner_text())
        button.click()
        shown = page.locator(".response:visible")
        assert shown.count() == count > 0
        assert kind == "all" or {r.get_attribute("data-kind") for r in shown.all()} == {kind}
        assert page.locator("[aria-pressed=true]").count() == 1
        assert page.locator("#shown").inner_text() == f"{count} of 30 responses shown"
    figure = page.locator("figure").first
    before = figure.inner_text()
    figure.locator("svg").hover()
    assert "at 27" in figure.locator("figcaption").inner_text()
    page.mouse.move(0, 0)
    assert figure.inner_text() == before
    assert problems == []
    assert [url for url in requests if not url.startswith(("file://", "data:"))] == []
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_follows_the_colour_scheme(page_path: Path, browser, scheme: str) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme=scheme)
    page.goto(page_path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    luminance = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
    assert (luminance > 128) == (scheme == "light")
    page.close()


def test_heads_of_columns_stay_in_view_where_the_table_fits(page_path: Path, browser) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 700}, reduced_motion="reduce")
    page.goto(page_path.as_uri())
    head, row = page.locator("#table thead th").nth(1), page.locator('#table tr[data-metric="ece"]').first
    row.scroll_into_view_if_needed()
    page.wait_for_timeout(50)
    navigation = page.locator("nav").bounding_box()
    assert head.bounding_box()["y"] == pytest.approx(navigation["y"] + navigation["height"], abs=2)
    assert head.bounding_box()["y"] < row.bounding_box()["y"]
    assert not page.locator("#table .more").first.is_visible()
    page.close()


def test_a_narrow_screen_says_that_there_is_more_and_heads_stay(page_path: Path, browser) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 800}, reduced_motion="reduce")
    page.goto(page_path.as_uri())
    box, more = page.locator("#table .scroll").first, page.locator("#table .more").first
    assert more.inner_text() == "2 of 5 columns are in view: scroll sideways →"
    assert "beyond-right" in box.get_attribute("class") and "beyond-left" not in box.get_attribute("class")
    assert "beyond-down" in box.get_attribute("class"), "and there is more below"
    third = page.locator("#table thead th").nth(3).bounding_box()
    assert third["x"] < 374 < third["x"] + third["width"], "the next column peeps out"
    box.evaluate("box => box.scrollTo(120, 900)")
    page.wait_for_timeout(50)
    assert "beyond-right" in box.get_attribute("class") and "beyond-left" in box.get_attribute("class")
    assert box.evaluate("box => box.scrollTop") > 100
    head = page.locator("#table thead th").nth(2).bounding_box()
    assert head["y"] == pytest.approx(box.bounding_box()["y"], abs=2)
    name = page.locator('#table tr[data-metric="ece"] th').bounding_box()
    assert name["x"] == pytest.approx(box.bounding_box()["x"], abs=2), "so do the names of the rows"
    box.evaluate("box => box.scrollTo(9999, 0)")
    page.wait_for_timeout(50)
    assert more.inner_text().startswith("← ") and "beyond-right" not in box.get_attribute("class")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.wait_for_timeout(50)
    assert not more.is_visible()
    page.close()


def test_words_of_the_field_lead_to_the_glossary(page_path: Path, browser) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    page.goto(page_path.as_uri())
    wanted = set(page.evaluate("[...document.querySelectorAll('a.term')].map(a => a.getAttribute('href').slice(1))"))
    there = set(page.evaluate("[...document.querySelectorAll('#glossary [id]')].map(e => e.id)"))
    assert wanted and wanted <= there
    keys = {"ece", "grpo", "srpo", "credit", "macro_f1", "right_label_wrong_reasoning", "tokens_per_second", "best"}
    assert {f"term-{key}" for key in keys} <= there
    link = page.locator('#table tr[data-metric="right_label_wrong_reasoning"] a.term')
    assert "although an earlier step is wrong" in link.get_attribute("title")
    link.click()
    entry = page.locator("#term-right_label_wrong_reasoning").bounding_box()
    assert page.locator("nav").bounding_box()["height"] <= entry["y"] < 800
    page.close()


def test_every_metric_of_the_table_is_explained() -> None:
    keys = [*METRICS, "step_query", "accuracy_query", "first_error_f1", "kappa"]
    assert [key for key in keys if term_of(key) is None] == []
    assert term_of("word_order") is None


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb` or `#rgb` (WCAG 2)."""
    digits = colour.lstrip("#")
    digits = "".join(2 * c for c in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_what_is_drawn_or_written_stands_out_from_every_ground(scheme: int) -> None:
    """4.5 : 1, which WCAG asks for text; the baselines' dots once had 2.5."""
    style = (Path(build.__file__).parent / "style.css").read_text("utf-8")
    colours = dict(re.findall(r"--(\w+): (#\w+)", re.findall(r":root \{(.*?)\}", style, re.DOTALL)[scheme]))
    grounds = {"page", "surface", "sunk"}
    assert {"sb", *(f"s{i}" for i in range(COLOURS))} <= colours.keys() and grounds <= colours.keys()
    weak = {
        (name, ground): round(contrast(colours[name], colours[ground]), 2)
        for name in colours.keys() - grounds - {"line"}
        for ground in grounds
        if contrast(colours[name], colours[ground]) < 4.5
    }
    assert weak == {}


class Table(HTMLParser):
    """Numbers of the score table: metric -> the bold text of each cell."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, list[str]] = {}
        self._metric, self._bold = "", False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self._metric = dict(attrs).get("data-metric") or ""
        self._bold = tag == "b" and bool(self._metric)

    def handle_endtag(self, tag: str) -> None:
        self._bold = False

    def handle_data(self, data: str) -> None:
        if self._bold:
            self.rows.setdefault(self._metric, []).append(data)


def test_the_table_has_the_numbers_of_the_results(page_path: Path) -> None:
    results = json.loads((page_path.parent / "stages" / "evaluate" / "results.json").read_text("utf-8"))
    table = Table()
    table.feed(page_path.read_text("utf-8"))
    order = ["sft", "grpo", "srpo", "majority", "tfidf"]  # baselines last
    metrics = results["models"]["sft"]["metrics"]
    assert set(table.rows) == set(metrics)
    for metric, shown in table.rows.items():
        values = [results["models"][name]["metrics"][metric] for name in order]
        factor = 1 if metric in ("tokens_per_second", "mean_tokens") else 100
        digits = 0 if metric == "tokens_per_second" else 1
        assert shown == ["–" if v is None else f"{v * factor:,.{digits}f}" for v in values]


def test_it_is_small_with_many_long_rollouts(new_run: Callable[..., Path]) -> None:
    assert build_report(new_run(updates=60, groups=32, size=8, every=10)).stat().st_size < 1_000_000


def test_a_run_that_only_evaluates(new_run: Callable[..., Path]) -> None:
    folder = new_run(updates=2)
    for name in ("data", "sft", "grpo", "srpo"):
        shutil.rmtree(folder / "stages" / name)
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text("utf-8"))
    recipe["stages"] = {"evaluate": recipe["stages"]["evaluate"]}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), "utf-8")
    page = build_report(folder).read_text("utf-8")
    for said in ("No rollouts in this run folder.", "No training stage in this run folder has curves.", "86.1"):
        assert said in page


def test_a_run_without_evaluation_or_rollouts(new_run: Callable[..., Path]) -> None:
    folder = new_run(updates=2)
    shutil.rmtree(folder / "stages" / "evaluate")
    for name in ("grpo", "srpo"):
        shutil.rmtree(folder / "stages" / name / "rollouts")
    page = build_report(folder).read_text("utf-8")
    for said in ("Nothing was evaluated yet", "Stage srpo kept no rollouts.", "Stage evaluate has not started."):
        assert said in page
    assert page.count("<figure") == 12, "curves need no evaluation"


def test_a_folder_of_stages_alone_with_a_domain_that_is_gone(new_run: Callable[..., Path]) -> None:
    folder = new_run(updates=2)
    (folder / "recipe.yaml").write_text("name: x\ndomain: /nowhere/shop.yaml\n", "utf-8")
    assert "shown by their codes" in build_report(folder).read_text("utf-8")
    (folder / "recipe.yaml").unlink()
    (folder / "environment.json").unlink()
    assert "The recipe was not recorded" in build_report(folder).read_text("utf-8")


def test_not_a_run_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run folder"):
        build_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_duration() -> None:
    assert [duration(s) for s in (None, 3.21, 48.2, 59.9, 200, 7500)] == [
        "not finished", "3.2 s", "48 s", "60 s", "3 min 20 s", "2 h 05 min",
    ]  # fmt: skip
