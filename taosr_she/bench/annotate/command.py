"""`taosr-she bench annotate`: the annotation page with a large store and five annotators at once."""

import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console

from taosr_she.annotate.desk import Desk
from taosr_she.annotate.people import add_person
from taosr_she.bench.annotate.latency import measure
from taosr_she.bench.annotate.load import overview_seconds, write
from taosr_she.bench.annotate.store import fill, serving
from taosr_she.bench.results import write_result

LEAD = ("/api/lead/overview", "/api/lead/disagreements", "/api/lead/agreement")


def measure_annotate(console: Console, out: Path, items: int, judged: int, verdicts: int, batch: int) -> None:
    """Latency of the page, then the rate of verdicts, then the lead's requests; all on one store."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "people.db"
        started = time.perf_counter()
        tokens = fill(store, items)
        filled = time.perf_counter() - started
        with Desk(store) as desk:
            lead = add_person(desk, "lead", "lead")
        with serving(store) as address:
            latency = measure(address, tokens, judged)
            load = write(address, store, tokens, verdicts, batch)
            seconds = {path: overview_seconds(address, lead, path) for path in LEAD}
    rows = [
        ("a store is filled", f"{filled:.0f} s"),
        ("key to next step, painted: median, 95th percentile, largest", _milliseconds(latency.steps)),
        ("key to next item, painted: median, 95th percentile, largest", _milliseconds(latency.items)),
        (f"five writers, {verdicts:,} verdicts each, {batch} in a request", f"{load.rate:,.0f} verdicts/s"),
        *((f"lead: {path.rsplit('/', 1)[1]}", f"{1000 * took:.0f} ms") for path, took in seconds.items()),
    ]
    head = (
        f"{items:,} items, five annotators at once, {latency.items.size} items judged by keyboard\n\n| | |\n|---|---|\n"
    )
    text = head + "\n".join(f"| {name} | {value} |" for name, value in rows) + "\n"
    result = {
        "items": items, "fill_seconds": filled, "step_milliseconds": latency.steps.tolist(),
        "item_milliseconds": latency.items.tolist(), "verdicts": load.sent, "verdicts_per_second": load.rate,
        "batch": batch, "reads_meanwhile": load.reads, "lead_seconds": seconds,
    }  # fmt: skip
    write_result(console, out, "annotate", result, text)


def _milliseconds(times: np.ndarray) -> str:
    middle, high = np.percentile(times, (50, 95))
    return f"{middle:.0f}, {high:.0f}, {times.max():.0f} ms"
