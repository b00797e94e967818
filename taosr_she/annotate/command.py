"""What `taosr-she annotate` does: fill the queue, give links, serve the page."""

import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from taosr_she.annotate.critiques import critique_effect
from taosr_she.annotate.desk import Desk
from taosr_she.annotate.items import add_items
from taosr_she.annotate.people import add_person, all_people, remove_person
from taosr_she.annotate.policies import EXAMINED, POLICIES, UNEXAMINED
from taosr_she.annotate.pool import GOLD_SHARE
from taosr_she.annotate.queue import Queued, reference_items, response_items
from taosr_she.annotate.tables import tables
from taosr_she.annotate.wire_lead import CritiqueMeasure
from taosr_she.base.errors import UserError
from taosr_she.data.validate import load_pairs
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.examine.store import AnnotationStore, open_annotations, read_all

DEFAULT_GOLD_SHARE = 0.05
MEASURES = {
    "right": "agree with gold or settled verdicts", "with_gsrm": "agree with the GSRM",
    "seconds": "median seconds a verdict",
}  # fmt: skip


def fill_queue(
    console: Console,
    store: str,
    path: Path,
    domain_name: str,
    policy: Mapping[str, float] | None,
    steps: Sequence[str],
    limit: int | None,
    double: float,
    references: bool,
    gold: str | None,
    gold_share: float | None,
    seed: int,
    critiques: float = 0.0,
) -> None:
    """Add the responses (or, for `references`, the pairs) of a file to the queue of a store."""
    domain = load_domain(domain_name)
    for step in steps:
        if step not in domain.step_keys:
            raise UserError(f"--step {step}: domain {domain.name} has the steps {', '.join(domain.step_keys)}")
    if gold_share is not None and gold is None:
        raise UserError("--gold-share is a share of gold items: give --gold, a file or store of annotations")
    loaded = load_pairs(path, domain, responses=not references)
    if not loaded.pairs:
        why = "; ".join(f"{count} x {reason}" for reason, count in loaded.counts.items())
        raise UserError(f"{path}: no usable row ({why})")
    if references:
        if gold is not None:
            raise UserError("--gold is for responses: people's references are compared with each other")
        if critiques:
            raise UserError("--critiques is for responses: whoever gives references must not see what a model says")
        queued = reference_items(domain, loaded.pairs, policy or UNEXAMINED, steps, limit, double, seed)
    else:
        known = read_all(gold) if gold is not None else []
        shares = policy or (EXAMINED if _examined(domain, loaded.pairs) else UNEXAMINED)
        queued = response_items(domain, loaded.pairs, shares, steps, limit, double, known, seed, critiques)
    if not queued.items:
        raise UserError(f"{path}: nothing in it can be asked; is --domain {domain_name} right?")
    with Desk(store) as desk:
        desk.use_domain(domain)
        new = add_items(desk, queued.items, seed)
        if gold is not None:
            desk.set_fact(GOLD_SHARE, str(DEFAULT_GOLD_SHARE if gold_share is None else gold_share))
        name = desk.store.name
    why = "".join(f"; {count} x {reason}" for reason, count in loaded.counts.items())
    console.print(f"{path}: {len(loaded.pairs)} of {len(loaded.pairs) + len(loaded.rejected)} rows are usable{why}")
    console.print(f"{new} new items in {name}: {_told(queued)}")
    if len(queued.items) > new:
        console.print(f"{len(queued.items) - new} were there already and stay as they are")
    if queued.unreadable or queued.repeated:
        console.print(f"left out: {queued.unreadable} responses without a section, {queued.repeated} repeated ones")


def tell_critiques(console: Console, source: str) -> None:
    """Whether critiques help, of a store whose page shows them; nothing for other stores and for files."""
    from sqlalchemy import inspect

    opened = open_annotations(source)
    if not isinstance(opened, AnnotationStore):
        return
    with opened:
        has_page = inspect(opened.engine).has_table(tables().items.name)  # a store without a page stays without
    if not has_page:
        return
    with Desk(source, create=False) as desk:
        effect = critique_effect(desk)
    if effect.measures:
        console.print(f"critiques: {effect.shown_items} judged items show them, {effect.kept_items} keep them back")
    for measure in effect.measures:
        console.print(f"{MEASURES[measure.name]}: {_compared(measure)}", highlight=False)


def _compared(measure: CritiqueMeasure) -> str:
    share = measure.name != "seconds"

    def said(value: float | None, ends: tuple[float, float] | None, sign: str = "") -> str:
        if value is None:
            return "nothing to measure"
        scale, unit = (100, "%") if share else (1, "")
        numbers = [f"{format(scale * number, f'{sign}.1f')}{unit}" for number in (value, *(ends or ()))]
        return numbers[0] + (f" [{numbers[1]}, {numbers[2]}]" if ends else "")

    return (
        f"{said(measure.shown, measure.shown_ends)} of {measure.shown_count} where shown, "
        f"{said(measure.kept, measure.kept_ends)} of {measure.kept_count} where kept back; difference "
        f"{said(measure.difference, measure.difference_ends, '+')}"
    )


def give_links(
    console: Console, store: str, names: Sequence[str], leads: Sequence[str], remove: Sequence[str], url: str
) -> None:
    """New links for people; what their former links could do, they cannot any more. Without names, list everybody."""
    with Desk(store) as desk:
        for name in remove:
            remove_person(desk, name)
            console.print(f"{name}: link withdrawn")
        for name in names:
            console.print(f"{name}: {url}/#{add_person(desk, name)}", soft_wrap=True)
        for name in leads:
            console.print(f"{name} (lead): {url}/lead#{add_person(desk, name, 'lead')}", soft_wrap=True)
        if not names and not leads and not remove:
            for person in all_people(desk):
                console.print(f"{person.name}: {person.role}{'' if person.active else ', link withdrawn'}")


def serve_page(
    console: Console, store: str, host: str, port: int, guideline: Path | None, lease_minutes: float
) -> None:
    """Serve the page until Ctrl-C. Without any lead in the store, one is made and their link shown."""
    try:
        import uvicorn

        from taosr_she.annotate.app import create_app
    except ImportError as error:
        raise UserError(f"the annotation page needs {error.name}: pip install 'taosr-she[serve]'") from error
    if "://" not in store and not Path(store).is_file():
        raise UserError(f"annotation store {store}: no such file; fill it with `taosr-she annotate queue {store} FILE`")
    text = _guideline(guideline)
    with Desk(store) as desk:
        app = create_app(desk, text, lease_minutes * 60)
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        with _listening(host, port, address) as listening:
            if not any(person.role == "lead" and person.active for person in all_people(desk)):
                console.print(f"the lead's link: {address}/lead#{add_person(desk, 'lead', 'lead')}", soft_wrap=True)
            console.print(f"annotation page of {desk.store.name}: {address} (Ctrl-C ends it)", soft_wrap=True)
            config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, lifespan="off")
            uvicorn.Server(config).run(sockets=[listening])


def _listening(host: str, port: int, address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
        # Connections inherit it. asyncio sets it only on sockets made with proto=IPPROTO_TCP; without it, every answer
        # waits 40 ms for the browser's delayed acknowledgement.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        reason = (error.strerror or type(error).__name__).partition(" (while")[0]
        raise UserError(f"cannot serve on {address} ({reason}): choose another --port or --host") from error


def _guideline(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise UserError(f"--guideline {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"--guideline {path}: is not a text in UTF-8") from error


def _examined(domain: Domain, pairs: Sequence[object]) -> bool:
    return any(getattr(pair, "extra", {}).get(f"source_{key}") == "gsrm" for pair in pairs for key in domain.step_keys)


def _told(queued: Queued) -> str:
    by_reason = Counter("gold" if item.gold else item.reason for item in queued.items)
    twice = sum(item.wanted == 2 for item in queued.items)
    parts = [f"{reason} {count}" for reason, count in by_reason.most_common()]
    shown, kept = (sum(item.offered == how for item in queued.items) for how in ("shown", "kept"))
    more = [f"{twice} of them for two people"] if twice else []
    more += [f"{shown} show critiques and {kept} keep them back"] if shown + kept else []
    return ", ".join([*parts, *more])


def read_shares(options: Sequence[str] | None) -> dict[str, float] | None:
    """`["critical=0.7", "random=0.3"]` as shares of 1; None without options."""
    if not options:
        return None
    shares: dict[str, float] = {}
    for option in options:
        name, equals, text = option.partition("=")
        try:
            share = float(text) if equals else 1.0
        except ValueError:
            share = -1.0
        if name not in POLICIES or not 0 < share < 1e6:
            raise UserError(f"--policy {option}: expected NAME=SHARE with one of {', '.join(POLICIES)}")
        if name in shares:
            raise UserError(f"--policy {option}: {name} was given twice")
        shares[name] = share
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()}
