"""The screenshots of docs/annotation.md: `python -m taosr_she.bench.annotate.pictures docs/annotation`.

The shop is made up. Everything on the pictures happens in a real page on a real server; three people have judged.
"""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from taosr_she.annotate.answers import take_in
from taosr_she.annotate.desk import Desk
from taosr_she.annotate.items import Item, add_items
from taosr_she.annotate.people import add_person
from taosr_she.annotate.pool import hand_out
from taosr_she.annotate.wire import Answer
from taosr_she.bench.annotate.latency import ARGUMENTS
from taosr_she.bench.annotate.store import chromium, serving
from taosr_she.data.market.market import MarketConfig, generate_market
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.response import parse_response

COLORS = 64  # of a picture: enough for a page of text, and small
BOOT = Pair(
    "boot", "boot", "norvik trail boots without leather under 80",
    Product(
        "NORVIK lite trail boot, waterproof, free shipping",
        description="A light boot for long days on the trail. The upper is made of full-grain cowhide with a recycled "
        "nylon collar, the sole grips on wet rock, and a membrane keeps the water out. It dries overnight in "
        "a tent. The laces are round and do not open by themselves; the tongue is padded and sewn to the "
        "upper as far as the third eyelet, so that no sand gets in. Sizes run true: take half a size more for "
        "thick socks. The sole can be replaced by any cobbler who works with vulcanised rubber, and we send "
        "spare laces for free as long as you own the boot. Wash it by hand with lukewarm water, never in a "
        "machine, and treat the upper with wax twice a year.",
        brand="Norvik Lite", category="Shoes > Outdoor", price=74.9,
        attributes={"color": "graphite", "upper": "cowhide", "membrane": "yes", "weight": "410 g"},
    ),
)  # fmt: skip
STEPS = (
    "category: boots; brand: norvik; material: not leather; price: under 80",
    "category: boots; brand: norvik lite; color: graphite; material: cowhide; feature: waterproof; price: 74.9",
    "same",
    "brand: partial; material: match; price: match",
    "3 (R12)",
)
CRITIQUES = {
    "query": STEPS[0], "product": STEPS[1], "category": "same",
    "attributes": "brand: partial; material: conflict; price: match", "label": "2",
}  # fmt: skip
BAG = Pair(
    "bag", "bag", "حقيبة ظهر جلد حمراء", Product("norvik red leather backpack", price=60, attributes={"اللون": "أحمر"})
)
BAG_STEPS = (
    "category: backpack; color: red; material: leather",
    "category: backpack; brand: norvik; color: red; material: leather; price: 60",
    "same",
    "color: match; material: match",
    "4",
)


def take_pictures(folder: Path) -> None:
    """Write wide.png, narrow.png, dark.png, critique.png and lead.png."""
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        store = Path(place) / "people.db"
        tokens = _people_at_work(store)
        with serving(store) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)

            def picture(
                name: str, person: str, width: int, height: int, do: Callable[[Any], None], **more: Any
            ) -> None:
                options = {"viewport": {"width": width, "height": height}, "reduced_motion": "reduce", **more}
                page = browser.new_context(**options).new_page()
                lead = person == "lea"
                page.goto(f"{address}/{'lead' if lead else ''}#{tokens[person]}")
                page.wait_for_selector("#agreement > *" if lead else ".step[aria-current]")
                do(page)
                page.wait_for_timeout(300)
                page.screenshot(path=folder / f"{name}.png")
                _shrink(folder / f"{name}.png")

            picture("wide", "ada", 1280, 760, _wrong_attributes)
            picture("narrow", "ben", 390, 800, _right_to_left, has_touch=True)
            picture("dark", "cleo", 1280, 760, lambda page: page.keyboard.press("g"), color_scheme="dark")
            picture("lead", "lea", 1280, 1100, lambda page: page.wait_for_selector("#critiques table"))
            picture("critique", "dan", 1280, 760, _unfolded_critique)
            browser.close()


def _wrong_attributes(page: Any) -> None:
    for key in "1112":
        page.keyboard.press(key)


def _unfolded_critique(page: Any) -> None:
    for key in "111e":
        page.keyboard.press(key)


def _right_to_left(page: Any) -> None:
    page.tap(".step[data-step=query] [data-verdict=correct]")


def _people_at_work(store: Path) -> dict[str, str]:
    """A store in which three people have judged sixty responses, a third of them twice; name -> token."""
    domain = load_domain("taobao")
    market = generate_market(
        MarketConfig(demonstration_pairs=60, training_pairs=2, development_pairs=2, test_pairs=0), seed=4
    )
    pairs = {pair.pair_id: pair for pair in market.pairs["demonstration"]}
    with Desk(store) as desk:
        desk.use_domain(domain)
        items = []
        for n, demonstration in enumerate(market.demonstrations):
            response = parse_response(domain, demonstration.response)
            steps = tuple(step.text if step else None for step in response.steps)
            rng = Random(n)
            items.append(
                Item(
                    pairs[demonstration.pair_id], domain.step_keys, response_id=f"r{n}", steps=steps,
                    examined={key: rng.random() ** 0.3 for key in domain.step_keys},
                    reason=("critical", "uncertain", "random")[n % 3], wanted=1 + (n % 3 == 0),
                    critiques={"category": "same"}, offered=("shown", "kept", "")[n % 3],
                )
            )  # fmt: skip
        add_items(desk, items)
        tokens = {name: add_person(desk, name) for name in ("ada", "ben", "cleo", "dan")} | {
            "lea": add_person(desk, "lea", "lead")
        }
        for name, slips in (("ada", 0.05), ("ben", 0.08), ("cleo", 0.12)):
            for number, item in hand_out(desk, name, 25).items():
                _judge(desk, domain, name, number, item, slips)
        boot = Item(BOOT, domain.step_keys, steps=STEPS)
        for name, item in (
            ("ada", boot), ("ben", Item(BAG, domain.step_keys, steps=BAG_STEPS)), ("cleo", boot),
            ("dan", replace(boot, critiques=CRITIQUES, offered="shown")),
        ):  # fmt: skip
            desk.write(lambda connection: connection.exec_driver_sql("update annotate_items set open = 0"))
            add_items(desk, [replace(item, response_id=f"shown to {name}")])
            hand_out(desk, name, 1)
        desk.write(
            lambda connection: connection.exec_driver_sql("update annotate_items set open = 1 where taken < wanted")
        )
    return tokens


def _judge(desk: Desk, domain: Domain, name: str, number: int, item: Item, slips: float) -> None:
    rng = Random(f"{name} {number}")
    answers = []
    for key, verdict in item.examined.items():
        right = (verdict > 0.6) != (rng.random() < slips)
        said = "unsure" if rng.random() < 0.03 else "correct" if right else "wrong"
        answer = Answer(kind="judge", key=f"{name}-{number}-{key}", item=number, step=key, verdict=said)
        answers.append(answer.model_copy(update={"seconds": 1.5 + 4 * rng.random()}))
    take_in(desk, domain, name, answers)


def _shrink(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as picture:
        picture.convert("RGB").quantize(COLORS).save(path, optimize=True)


if __name__ == "__main__":
    take_pictures(Path(sys.argv[1]))
