"""The page as an annotator meets it: a real browser at a real server, which may die."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from annotation_page import ARGUMENTS, CHROMIUM, DOMAIN, SAVED, Served, Server, examined_file, opened, plain_item

from taosr_she.annotate.desk import Desk
from taosr_she.annotate.items import add_items
from taosr_she.annotate.people import add_person
from taosr_she.domain.pair import Annotation, Pair, Product

STEPS = len(DOMAIN.step_keys)
MEANING = dict(zip("1234cwst", 2 * ("correct", "wrong", "unsure", "cannot_tell"), strict=True))


def at(page) -> tuple[str, str]:
    """The item and the step that keys are about."""
    return tuple(
        page.evaluate("[document.getElementById('item').dataset.item, document.getElementById('item').dataset.step]")
    )


def records(path: Path, **wanted: str) -> list[Annotation]:
    with Desk(path) as desk:
        return list(desk.store.select(**wanted))


def test_thirty_responses_by_keyboard_alone(tmp_path: Path, new_server: Callable[..., Server], browser, cli) -> None:
    store = tmp_path / "people.db"
    code, _, error = cli("annotate", "queue", store, examined_file(tmp_path / "examined.jsonl"), "--limit", 30)
    assert code == 0, error
    with Desk(store) as desk:
        token = add_person(desk, "ann")
    page = opened(browser, new_server(store), token)
    expected = []  # (step, verdict) in order
    for n in range(30):
        shown, _ = at(page)
        keys = "12341" if n % 3 else "cwstj1"
        for key in keys:
            before = at(page)
            page.keyboard.press(key)
            if key == "j":
                assert at(page) == before  # the last step
                continue
            verdict = MEANING[key]
            expected.append((before[1], verdict))
            if verdict == "wrong":  # product, a text
                page.keyboard.press("End")
                page.keyboard.insert_text("; brand: norvik")
                page.keyboard.press("Enter")
        assert at(page)[0] != shown
    page.wait_for_selector("#nothing")
    page.wait_for_selector(SAVED)
    said = records(store)
    assert [(a.step, a.verdict) for a in said] == expected and len(said) == 30 * STEPS
    assert all(a.correction.endswith("; brand: norvik") == (a.verdict == "wrong") for a in said)
    assert {(a.annotator, a.guideline_version) for a in said} == {("ann", "1")}


def test_keys_for_conclusions_notes_undo_and_leaving(desk: Desk, link, served: Served, browser) -> None:
    page = opened(browser, served, link("ann"))
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert at(page) == ("1", "category")
    page.keyboard.press("2")  # wrong: which choice is right?
    page.keyboard.press("2")
    assert at(page) == ("1", "attributes")
    page.keyboard.press("2")  # fields: a digit sets a value
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    assert at(page) == ("1", "label")
    page.keyboard.press("n")
    page.keyboard.type("see the title")
    page.keyboard.press("Enter")
    page.keyboard.press("1")
    page.keyboard.press("1")  # query, the first without a verdict
    page.keyboard.press("1")  # product
    assert at(page) == ("2", "query")
    page.wait_for_selector(SAVED)
    said = {a.step: a for a in desk.store.select()}
    assert (said["category"].verdict, said["category"].correction) == ("wrong", "near")
    assert (said["attributes"].verdict, said["attributes"].correction) == ("wrong", "color: conflict")
    assert (said["label"].verdict, said["label"].note) == ("correct", "see the title")
    for _ in range(2):  # back into the item before
        page.keyboard.press("u")
    assert at(page) == ("1", "query")
    page.wait_for_selector(SAVED)
    page.reload()  # an undo still works after it
    page.wait_for_selector(".step[aria-current]")
    page.keyboard.press("u")
    page.keyboard.press("u")
    page.keyboard.press("u")
    page.wait_for_selector(SAVED)
    assert {a.step for a in desk.store.select()} == {"category"}
    page.keyboard.press("x")
    assert at(page)[0] == "2"
    page.wait_for_selector(SAVED)
    page.keyboard.press("g")
    assert "Rules and guideline, version 1" in page.inner_text("#guideline") and "R14" in page.inner_text("#guideline")
    page.keyboard.press("1")  # not a verdict while a dialog is open
    page.keyboard.press("g")
    assert at(page) == ("2", "query")


def test_all_by_touch(desk: Desk, link, served: Served, browser) -> None:
    page = opened(browser, served, link("ann"), viewport={"width": 390, "height": 800}, has_touch=True)
    for step, verdict in zip(DOMAIN.step_keys, ("correct", "cannot_tell", "wrong", "unsure", "correct"), strict=True):
        page.tap(f".step[data-step={step}] [data-verdict={verdict}]")
        if verdict == "wrong":
            page.tap(".step[data-step=category] .editor button:nth-child(3)")
        page.wait_for_selector(f"#item:not([data-step={step}])")
    assert at(page)[0] == "2"
    page.tap("#undo")
    page.tap("#item[data-item='1'] .step[data-step=label] [data-verdict=correct]")
    page.wait_for_selector("#item[data-item='2']")
    page.wait_for_selector(SAVED)
    assert [a.correction for a in desk.store.select() if a.step == "category"] == ["accessory"]
    assert desk.store.count() == STEPS
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_references_are_blind_and_by_keyboard(desk: Desk, link, served: Served, browser) -> None:
    token = link("ann")
    desk.write(lambda c: c.exec_driver_sql("delete from annotate_items"))
    add_items(desk, [plain_item(1, kind="reference", steps=(), response_id="", asked=("query", "category", "label"))])
    page = opened(browser, served, token)
    page.keyboard.type("category: boots; color: red")
    page.keyboard.press("Enter")
    page.keyboard.press("1")
    page.keyboard.press("t")
    page.wait_for_selector("#nothing")
    page.wait_for_selector(SAVED)
    said = {a.step: (a.conclusion, a.verdict, a.response_id) for a in desk.store.select()}
    assert said == {
        "query": ("category: boots; color: red", "correct", ""), "category": ("same", "correct", ""),
        "label": ("", "cannot_tell", ""),
    }  # fmt: skip


def test_what_i_left_comes_back_when_i_ask(desk: Desk, link, served: Served, browser) -> None:
    page = opened(browser, served, link("ann"))
    for _ in range(10):
        page.keyboard.press("x")
    page.wait_for_selector(SAVED)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(300)
    assert not asked  # with nothing to do, the page looks again after seconds, not at once
    page.click("#again:has-text('Take back the 10 you left')")
    page.wait_for_selector("#item[data-item='1']")
    for _ in range(STEPS):
        page.keyboard.press("1")
    assert at(page)[0] == "2"
    page.wait_for_selector(SAVED)
    assert desk.store.count() == STEPS


def test_two_annotators_at_once_share_nothing_but_double_items(desk: Desk, link, served: Served, browser) -> None:
    add_items(desk, [plain_item(n, wanted=2) for n in range(20, 23)])
    people = {name: opened(browser, served, link(name)) for name in ("ann", "bob")}
    done: dict[str, set[str]] = {name: set() for name in people}
    for _ in range(20):
        for name, page in people.items():
            if page.query_selector("#nothing"):
                continue
            done[name].add(at(page)[0])
            for _ in range(STEPS):
                page.keyboard.press("1" if name == "ann" else "3")
    for page in people.values():
        page.wait_for_selector(SAVED)
    assert done["ann"] | done["bob"] == {str(n) for n in range(1, 14)}
    assert done["ann"] & done["bob"] == {"11", "12", "13"}
    assert desk.store.count() == 16 * STEPS


def test_a_killed_server_and_a_cut_network_lose_nothing_and_repeat_nothing(
    desk: Desk, link, new_server: Callable[..., Server], browser
) -> None:
    store = Path(desk.store.name)
    server = new_server(store)
    page = opened(browser, server, link("ann"))
    page.keyboard.press("1")
    page.wait_for_selector(SAVED)
    server.kill()
    for _ in range(3 * STEPS):
        page.keyboard.press("1")
    page.wait_for_selector("#saving[data-waiting='15']")
    assert "kept here and sent later" in page.inner_text("#trouble")
    page.keyboard.press("u")
    assert desk.store.count() == 1
    server.start()
    page.wait_for_selector(SAVED)
    assert desk.store.count() == 3 * STEPS  # one, 15 more, one taken back
    page.context.set_offline(True)
    for _ in range(7):
        page.keyboard.press("1")
    page.wait_for_selector("#saving[data-waiting='7']")
    page.context.set_offline(False)
    page.wait_for_selector(SAVED)
    assert page.is_hidden("#trouble")
    assert desk.store.count() == 3 * STEPS + 7
    answers = desk.read(lambda c: c.exec_driver_sql("select count(*), count(distinct key) from annotate_answers").one())
    assert tuple(answers) == (24, 24)  # 23 judgements and one undo


def test_answers_lost_on_the_way_back_count_once(desk: Desk, link, served: Served, browser) -> None:
    """The server keeps them, its answer never arrives, and the page sends them again."""
    page = opened(browser, served, link("ann"))
    lost = []

    def lose(route) -> None:
        if len(lost) < 2:
            lost.append(route.fetch().status)
            route.abort()
        else:
            route.continue_()

    page.route("**/api/answers", lose)
    for _ in range(STEPS):
        page.keyboard.press("1")
    page.wait_for_selector(SAVED)
    assert lost == [200, 200] and desk.store.count() == STEPS
    assert desk.read(lambda c: c.exec_driver_sql("select count(*) from annotate_answers").scalar()) == STEPS


@pytest.mark.slow
def test_a_killed_browser_sends_what_it_had_stored(
    desk: Desk, link, new_server: Callable[..., Server], driver, tmp_path: Path
) -> None:
    """The server is dead, the browser dies, too. When both are back, all is there."""
    server, token, profile = new_server(Path(desk.store.name)), link("ann"), tmp_path / "profile"
    command = [CHROMIUM, *ARGUMENTS, "--headless", f"--user-data-dir={profile}", "--remote-debugging-port=0"]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        page = _attached(driver, profile)
        page.goto(f"{server.url}/#{token}")
        page.wait_for_selector(".step[aria-current]")
        server.kill()
        for _ in range(STEPS + 2):
            page.keyboard.press("1")
        page.wait_for_selector("#saving[data-stored='7']")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert desk.store.count() == 0
    server.start()
    again = driver.chromium.launch_persistent_context(profile, executable_path=CHROMIUM, args=ARGUMENTS)
    page = again.new_page()
    page.goto(f"{server.url}/#{token}")
    page.wait_for_selector("#item[data-item='2']")
    page.wait_for_selector(SAVED)
    assert desk.store.count() == STEPS + 2
    assert at(page) == ("2", DOMAIN.step_keys[2])
    again.close()


def _attached(driver, profile: Path):
    """A page of the browser that has just been started with this profile."""
    port = profile / "DevToolsActivePort"
    while not port.is_file() or not port.read_text().strip():
        time.sleep(0.05)
    return driver.chromium.connect_over_cdp(f"http://127.0.0.1:{port.read_text().split()[0]}").contexts[0].new_page()


def test_any_direction_of_writing(desk: Desk, link, served: Served, browser) -> None:
    desk.write(lambda c: c.exec_driver_sql("delete from annotate_items"))
    pair = Pair("ar", "ar", "حذاء جلد أحمر", Product("红色皮靴 norvik", attributes={"لون": "أحمر"}))
    add_items(desk, [plain_item(1, pair=pair, steps=("لون: أحمر", "颜色: 红", "same", "لون: match", "4"))])
    page = opened(browser, served, link("ann"))
    directions = page.evaluate(
        "[...document.querySelectorAll('.data')].map((e) => [e.textContent, getComputedStyle(e).direction])"
    )
    assert ["حذاء جلد أحمر", "rtl"] in directions and ["红色皮靴 norvik", "ltr"] in directions
    page.keyboard.press("2")
    assert page.evaluate("getComputedStyle(document.activeElement).direction") == "rtl"


def test_a_wrong_link_says_so(desk: Desk, served: Served, browser) -> None:
    page = browser.new_context().new_page()
    for token, said in (("wrong", "this link is not valid"), ("", "lacks the link's secret part")):
        page.goto(f"{served.url}/{'#' if token else ''}{token}")
        page.wait_for_selector(f'#trouble:has-text("{said}")')


def test_prefetch_keeps_the_next_item_at_hand(desk: Desk, link, served: Served, browser) -> None:
    """The next item is painted although the server is slow."""
    page = opened(browser, served, link("ann"))
    page.route("**/api/**", lambda route: (time.sleep(0.3), route.continue_()))
    for _ in range(STEPS):
        page.keyboard.press("1")
    assert at(page) == ("2", "query")
