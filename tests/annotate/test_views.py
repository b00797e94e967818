"""What people see in a browser beside the keys: the lead's view, hostile texts, accessibility."""

from pathlib import Path

import pytest
from annotation_page import DOMAIN, SAVED, Served, axe_violations, opened, opened_lead, plain_item

from taosr_she.annotate.desk import Desk
from taosr_she.annotate.items import add_items
from taosr_she.domain.pair import Pair, Product

HOSTILE = '"><script>window.broken = 1</script><img src=x onerror="window.broken = 2">{{7*7}} \u202egnp.exe \u200f<b>'


def test_hostile_texts_stay_text(desk: Desk, link, served: Served, browser) -> None:
    desk.write(lambda c: c.exec_driver_sql("delete from annotate_items"))
    pair = Pair(
        "h", "h", HOSTILE, Product(HOSTILE, brand=HOSTILE, attributes={HOSTILE: HOSTILE}, description=HOSTILE * 20)
    )
    add_items(
        desk,
        [plain_item(n, pair=pair, response_id=f"h{n}", steps=(HOSTILE, HOSTILE, "same", HOSTILE, "4")) for n in (1, 2)],
    )
    name = f"ann {HOSTILE.split(chr(0x202E))[0].strip()}"
    page = opened(browser, served, link(name))
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    assert page.inner_text("#who") == name
    shown = page.text_content("#query")
    assert "<script>window.broken = 1</script>" in shown and "\\u202e" in shown and "\u202e" not in page.content()
    page.keyboard.press("2")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type('<img src=x onerror="window.broken = 3">')
    page.keyboard.press("Enter")
    page.keyboard.press("n")
    page.keyboard.type("<script>window.broken = 4</script>")
    page.keyboard.press("Enter")
    page.keyboard.press("g")
    page.wait_for_selector(SAVED)
    lead = opened_lead(browser, served, link("lea", "lead"))
    assert "<script>window.broken = 1</script>" in lead.inner_text("#people")
    for seen in (page, lead):
        assert seen.evaluate("[window.broken, document.querySelectorAll('script:not([src]), img').length]") == [None, 0]
    assert not problems
    assert desk.store.count() == 2


def test_the_lead_sees_and_settles(desk: Desk, link, served: Served, browser) -> None:
    from taosr_she.annotate.answers import take_in
    from taosr_she.annotate.pool import hand_out
    from taosr_she.annotate.wire import Answer
    from taosr_she.examine.majority import majority_verdicts

    add_items(desk, [plain_item(20, wanted=2, examined={"category": 0.9})])
    for name, verdict in (("ann", "correct"), ("bob", "wrong")):
        link(name)
        hand_out(desk, name, 50)
        key = f"category-{name}"
        answer = Answer(kind="judge", key=key, item=11, step="category", verdict=verdict, seconds=2)
        assert take_in(desk, DOMAIN, name, [answer]).saved == [key]
    page = opened_lead(browser, served, link("lea", "lead"))
    assert "1 of 1" in page.inner_text("#people tr:has-text('bob')") and "0 of 1" in page.inner_text(
        "#people tr:has-text('ann')"
    )
    assert "0.0%" in page.inner_text("#agreement tr:has-text('all steps')")
    assert "50.0%" in page.inner_text("#agreement tr:has-text('all steps')")  # the base rate
    page.click("#settle button:has-text('wrong')")
    page.click("#settle .editor button:has-text('near')")
    page.wait_for_selector("#settle :text('settled as wrong')")
    place = ("p20", "category", "same")
    settled = [a for a in desk.store.select() if a.annotator == "settled:lea"]
    assert [(a.verdict, a.correction) for a in settled] == [("wrong", "near")]
    assert majority_verdicts(desk.store.select())[place].value == "wrong"
    page.click("#settle button:has-text('Undo')")
    page.wait_for_selector("#settle :text('settled as wrong')", state="detached")
    page.wait_for_selector("#settle .case")
    assert majority_verdicts(desk.store.select())[place].value is None
    page.fill("#name", "cleo")
    page.click("text=Give a link")
    page.wait_for_selector("#link .link")
    address = page.text_content("#link code")
    cleo = browser.new_context().new_page()
    cleo.goto(address)
    cleo.wait_for_selector("#nothing, .step")
    with page.expect_download() as download:
        page.click("text=TRL, stepwise")
    assert Path(download.value.path()).read_text("utf-8").count("\n") == 2
    page.click("#people tr:has-text('cleo') >> text=Withdraw")
    page.wait_for_selector("text=(link withdrawn)")
    cleo.reload()
    cleo.wait_for_selector("#trouble:has-text('ask the lead for a new one')")


OTHERS = [pytest.param(*one, marks=pytest.mark.slow) for one in ((390, "light"), (1280, "dark"), (1280, "light"))]


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), *OTHERS])
def test_axe_finds_nothing(desk: Desk, link, served: Served, browser, scheme: str, width: int) -> None:
    def check(page, where: str) -> None:
        assert not axe_violations(page), where

    page = opened(browser, served, link("ann"), color_scheme=scheme, viewport={"width": width, "height": 800})
    check(page, "an item")
    page.keyboard.press("1")
    page.keyboard.press("2")
    check(page, "a text to write")
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    check(page, "a choice")
    page.keyboard.press("1")
    page.keyboard.press("2")
    check(page, "fields")
    page.keyboard.press("Enter")
    page.keyboard.press("n")
    check(page, "a note")
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    check(page, "the guideline")
    page.keyboard.press("g")
    page.keyboard.press("?")
    check(page, "the keys")
    lead = opened_lead(browser, served, link("lea", "lead"))
    lead.emulate_media(color_scheme=scheme)
    lead.set_viewport_size({"width": width, "height": 800})
    check(lead, "the lead's view")
