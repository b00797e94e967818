"""The GSRM's critiques on the page: whom they are shown to, how, and the measure of whether they help."""

from collections.abc import Callable
from random import Random
from statistics import median

import pytest
from annotation_page import DOMAIN, SAVED, Served, axe_violations, opened, opened_lead, plain_item

from taosr_she.annotate.answers import take_in
from taosr_she.annotate.critiques import critique_effect
from taosr_she.annotate.desk import Desk
from taosr_she.annotate.items import Item, add_items, load_items
from taosr_she.annotate.lead import settle
from taosr_she.annotate.queue import response_items
from taosr_she.annotate.shown import shown_item
from taosr_she.annotate.wire import Answer
from taosr_she.base.errors import UserError
from taosr_she.domain.pair import Annotation, Pair, Product
from taosr_she.examine.store import AnnotationStore

TEXT = "[query] category: boots\n[product] category: boots\n[category] same\n[attributes] color: match\n[label] 4"
HOSTILE = '<img src=x onerror="window.broken = 1"> \u202e'
CRITIQUES = {"category": "near", "label": "2"}


def examined(count: int, **extra: str) -> list[Pair]:
    """Rows as `taosr-she examine` writes them: verdicts and critiques of a GSRM."""
    said = {"verdict_category": 0.3, "source_category": "gsrm", "critique_category": "near", "critique_label": None}
    return [
        Pair(f"p{n}", f"q{n}", "boots", Product("boot"), extra={"response": TEXT, **said, **extra})
        for n in range(count)
    ]


def queue(pairs: list[Pair], share: float, policies: dict[str, float] | None = None, **more) -> list[Item]:
    return response_items(DOMAIN, pairs, policies or {"uncertain": 1.0}, critiques=share, **more).items


def test_chance_decides_which_items_show_them_and_the_others_keep_them() -> None:
    items = queue(examined(400), 0.5)
    assert {item.offered for item in items} == {"shown", "kept"}
    assert 160 < sum(item.offered == "shown" for item in items) < 240
    assert all(item.critiques == {"category": "near"} for item in items), "kept ones too, to be compared"
    again = queue(examined(400)[::-1], 0.5)
    assert {i.pair.pair_id: i.offered for i in items} == {i.pair.pair_id: i.offered for i in again}
    assert {item.offered for item in queue(examined(20), 1.0)} == {"shown"}
    assert {(item.offered, *item.critiques) for item in queue(examined(20), 0.0)} == {("",)}


def test_never_for_the_control_policy_but_for_gold_which_must_look_like_the_rest() -> None:
    items = queue(examined(40), 1.0, {"uncertain": 0.5, "random": 0.5})
    assert {(item.reason, item.offered) for item in items} == {("uncertain", "shown"), ("random", "")}
    gold = [Annotation("p1", "category", "near")]
    (golden,) = [item for item in queue(examined(3), 1.0, gold=gold) if item.gold]
    assert golden.offered == "shown"


def test_a_file_without_critiques_says_what_to_do() -> None:
    with pytest.raises(UserError, match=r"no response has a critique of a GSRM .* examine the file first"):
        queue(examined(3, critique_category=""), 0.5)


def test_only_an_item_that_shows_them_sends_them_to_the_page(desk: Desk) -> None:
    for n, offered in enumerate(("shown", "kept"), start=20):
        add_items(desk, [plain_item(n, critiques={"category": HOSTILE}, offered=offered)])
    items = desk.read(lambda connection: load_items(desk, connection, [1, 11, 12]))
    shown = [[step.critique for step in shown_item(DOMAIN, n, items[n], {}).steps] for n in (1, 11, 12)]
    assert shown[0] == shown[2] == [None] * 5 and shown[1][2].startswith("<img") and "\u202e" not in shown[1][2]
    assert items[12].critiques == {"category": HOSTILE} and items[12].offered == "kept"


def test_folded_until_i_look_or_have_judged(desk: Desk, link, served: Served, browser) -> None:
    desk.write(lambda c: c.exec_driver_sql("delete from annotate_items"))
    said = {"query": "category: boots; color: red", "category": HOSTILE}
    add_items(desk, [plain_item(30, critiques=said, offered="shown"), plain_item(31, critiques=said, offered="kept")])
    page = opened(browser, served, link("ann"))

    def text(step: str) -> str | None:
        found = page.locator(f".step[data-step={step}] .critique span.data")
        return found.inner_text() if found.count() and found.is_visible() else None

    button = page.locator(".step[data-step=query] .peek")
    assert text("query") is None and button.get_attribute("aria-expanded") == "false"
    page.keyboard.press("e")
    assert text("query") == "category: boots; color: red" and "(the same)" in page.inner_text("[data-step=query]")
    assert button.get_attribute("aria-expanded") == "true"
    assert not axe_violations(page)
    page.keyboard.press("e")
    assert text("query") is None
    page.keyboard.press("1")
    assert text("query") == "category: boots; color: red", "after my verdict"
    assert page.locator(".step[data-step=product] .peek").count() == 0, "no critique of this step"
    page.keyboard.press("1")
    page.keyboard.press("2")  # wrong: an editor is open
    assert text("category") is None, "not while I say what is right"
    page.keyboard.press("e")
    assert "<img src=x" in text("category") and page.locator(".editor").count() == 1
    assert page.evaluate("window.broken") is None
    page.keyboard.press("Escape")
    assert "<img src=x" in text("category")
    for key in "11":
        page.keyboard.press(key)
    page.wait_for_selector("#item[data-item='12']")
    assert page.locator(".peek").count() == 0, "this one keeps them back"
    page.wait_for_selector(SAVED)
    assert desk.store.count() == 5


def made_up(desk: Desk) -> list[tuple[bool, str, dict[str, tuple[str, float]], str]]:
    """Sixty items judged by two people, twenty of them gold and ten settled; returned for a slow reference."""
    desk.write(lambda c: c.exec_driver_sql("delete from annotate_items"))
    rng = Random(5)
    rows = []
    for n in range(60):
        shown = rng.random() < 0.5
        gold = rng.choice(["correct", "wrong"]) if n % 3 == 0 else ""
        add_items(
            desk,
            [
                plain_item(
                    100 + n, critiques=CRITIQUES, offered="shown" if shown else "kept", wanted=2,
                    gold={"category": gold} if gold else {}, examined={"category": rng.random()},
                )
            ],
        )  # fmt: skip
        rows.append((shown, gold))
    known = []
    numbers = {item.response_id: (number, item) for number, item in _all(desk).items()}
    for n, (shown, gold) in enumerate(rows):
        number, item = numbers[f"r{100 + n}"]
        said: dict[str, tuple[str, float]] = {}
        for person in ("ann", "bob"):
            _give(desk, person, number)
            first, later = (rng.choice(["correct", "wrong", "unsure"]) for _ in range(2))
            times = [round(rng.uniform(1, 9), 3) for _ in range(2)]
            answers = [
                _judge(f"{person}-{n}-{i}", number, verdict, times[i]) for i, verdict in enumerate((first, later))
            ]
            undone = rng.random() < 0.3
            if undone:
                answers.append(Answer(kind="undo", key=f"{person}-undo-{n}", item=number, of=answers[1].key))
            assert not take_in(desk, DOMAIN, person, answers).refused
            said[person] = (first if undone else later, sum(times))
        settled = ""
        if not gold and n % 2:
            settled = rng.choice(["correct", "wrong"])
            assert not settle(desk, DOMAIN, "lea", [_judge(f"settled-{n}", number, settled, 3.0)]).refused
        known.append((shown, gold or settled, said, "correct" if item.examined["category"] >= 0.5 else "wrong"))
    return known


def _all(desk: Desk) -> dict[int, Item]:
    numbers = desk.read(lambda c: c.exec_driver_sql("select id from annotate_items").scalars().all())
    return desk.read(lambda c: load_items(desk, c, numbers))


def _give(desk: Desk, person: str, number: int) -> None:
    row = {"person": person, "item": number, "state": "held", "until": 2e9}
    desk.write(lambda connection: connection.execute(desk.tables.assignments.insert(), row))


def _judge(key: str, item: int, verdict: str, seconds: float) -> Answer:
    return Answer(kind="judge", key=key.ljust(8, "-"), item=item, step="category", verdict=verdict, seconds=seconds)


def test_the_measure_equals_loops_over_made_up_records(desk: Desk) -> None:
    known = made_up(desk)
    found = {measure.name: measure for measure in critique_effect(desk).measures}
    for name, shown in (("right", True), ("right", False), ("with_gsrm", True), ("with_gsrm", False)):
        hits = [
            verdict == (truth if name == "right" else gsrm)
            for was_shown, truth, said, gsrm in known
            for verdict, _ in said.values()
            if was_shown == shown and verdict != "unsure" and (truth or name != "right")
        ]
        value, count = (
            (found[name].shown, found[name].shown_count) if shown else (found[name].kept, found[name].kept_count)
        )
        assert (value, count) == (pytest.approx(sum(hits) / len(hits)), len(hits)), (name, shown)
    times = {half: [s for was, _, said, _ in known if was == half for _, s in said.values()] for half in (True, False)}
    assert found["seconds"].shown == pytest.approx(median(times[True]))
    assert found["seconds"].difference == pytest.approx(median(times[True]) - median(times[False]))
    for measure in found.values():
        for value, ends in (
            (measure.shown, measure.shown_ends), (measure.kept, measure.kept_ends),
            (measure.difference, measure.difference_ends),
        ):  # fmt: skip
            assert ends is not None and ends[0] < value < ends[1]
    effect = critique_effect(desk)
    assert effect.shown_items == sum(was for was, *_ in known) and effect.kept_items == 60 - effect.shown_items


def test_a_difference_that_is_there_is_found_and_one_that_is_not_is_not(desk: Desk) -> None:
    """People who are right more often with critiques (made up), at the same pace: one interval excludes 0."""
    desk.write(lambda c: c.exec_driver_sql("delete from annotate_items"))
    rng = Random(7)
    for n in range(200):
        shown = n % 2 == 0
        item = plain_item(
            300 + n, critiques=CRITIQUES, offered="shown" if shown else "kept", gold={"category": "wrong"}
        )
        add_items(desk, [item])
    for number, item in _all(desk).items():
        _give(desk, "ann", number)
        right = rng.random() < (0.95 if item.offered == "shown" else 0.7)
        answer = _judge(f"a-{number}", number, "wrong" if right else "correct", rng.uniform(2, 6))
        take_in(desk, DOMAIN, "ann", [answer])
    measures = {measure.name: measure for measure in critique_effect(desk).measures}
    assert measures["right"].difference_ends[0] > 0.1
    low, high = measures["seconds"].difference_ends
    assert low < 0 < high and "with_gsrm" not in measures, "no verdict of a GSRM was given"


def test_the_lead_and_the_command_line_say_it(desk: Desk, link, served: Served, browser, cli: Callable) -> None:
    lead = opened_lead(browser, served, link("lea", "lead"))
    lead.wait_for_selector("#critiques :text('no verdict on an item with critiques yet')")
    made_up(desk)
    lead.click("#refresh")
    lead.wait_for_selector("#critiques table")
    right = next(m for m in critique_effect(desk).measures if m.name == "right")
    shown = f"{100 * right.shown:.1f}% [{100 * right.shown_ends[0]:.1f}%, {100 * right.shown_ends[1]:.1f}%]"
    assert f"{shown} of {right.shown_count}" in lead.inner_text("#critiques tr:has-text('gold')")
    code, out, err = cli("annotations", "agreement", desk.store.name)
    assert code == 0, err
    said = " ".join(out.split())
    assert "judged items show them" in said and f"agree with gold or settled verdicts: {shown}" in said


def test_agreement_of_a_store_without_a_page_leaves_it_without(tmp_path, cli: Callable) -> None:
    with AnnotationStore(tmp_path / "people.db") as store:
        store.add(Annotation("p", "category", "same", annotator=name) for name in ("ann", "bob"))
    code, out, _ = cli("annotations", "agreement", tmp_path / "people.db")
    assert code == 0 and "critiques" not in out
    from sqlalchemy import create_engine, inspect

    assert inspect(create_engine(f"sqlite:///{tmp_path / 'people.db'}")).get_table_names() == ["annotations"]
