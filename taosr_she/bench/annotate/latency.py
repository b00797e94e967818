"""From a key to the next item on the screen: measured inside real pages, of several annotators at once."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from taosr_she.bench.annotate.store import chromium

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-background-timer-throttling", "--disable-renderer-backgrounding",
]  # fmt: skip
PROBE = """
window.painted = [];
const shown = () => { const at = document.getElementById("item").dataset; return [at.item, at.step]; };
addEventListener("keydown", (event) => {
  const [item, step] = shown();
  const look = () => {
    const channel = new MessageChannel();  // a message after a frame arrives when that frame has been painted
    channel.port1.onmessage = () => {
      const [now, where] = shown();
      if (now === item && where === step) return requestAnimationFrame(look);
      window.painted.push({ milliseconds: performance.now() - event.timeStamp, item: now !== item });
    };
    channel.port2.postMessage(0);
  };
  requestAnimationFrame(look);
}, true);
"""


@dataclass(frozen=True)
class Latency:
    """Milliseconds from a key to the paint of what follows."""

    steps: np.ndarray  # to the next step of the same item
    items: np.ndarray  # to the next item


def measure(address: str, tokens: Mapping[str, str], items: int, steps: int = 5, pause: int = 50) -> Latency:
    """Every annotator judges `items` items by keyboard, all in turn, with `pause` milliseconds between two keys."""
    from playwright.sync_api import sync_playwright

    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        pages = []
        for token in tokens.values():
            page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
            page.add_init_script(PROBE)
            page.goto(f"{address}/#{token}")
            page.wait_for_selector(".step[aria-current]")
            pages.append(page)
        for _ in range(items * steps):
            for page in pages:
                page.keyboard.press("1")
            pages[0].wait_for_timeout(pause)
        for page in pages:
            page.wait_for_selector("#saving[data-waiting='0']")
            found += page.evaluate("window.painted")
        browser.close()
    times = {kind: np.array([f["milliseconds"] for f in found if f["item"] == kind]) for kind in (False, True)}
    return Latency(times[False], times[True])
