"""Do the GSRM's critiques help people? A comparison of items that show them with items that keep them back.

Which items show their critiques was decided by chance (`queue --critiques`), so a difference between the two halves is
an effect of showing them, whether or not a person unfolded one. Compared are steps with a critique:

- `right`: verdicts that agree with what is known: gold, or else what a lead settled.
- `with_gsrm`: verdicts that agree with the GSRM's own, known or not: it rises if critiques lead people, also astray.
- `seconds`: median time that a person spent on a step, later changes included.

Intervals are percentile bootstraps over pairs: verdicts on one pair are similar. A person's latest verdict counts;
`unsure` and `can't tell` agree with nothing and are left out of both shares.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from taosr_she.annotate.desk import Desk
from taosr_she.annotate.items import load_item
from taosr_she.annotate.wire_lead import CritiqueEffect, CritiqueMeasure, CritiqueName
from taosr_she.examine.hybrid import RIGHT
from taosr_she.examine.majority import SETTLED

if TYPE_CHECKING:
    from sqlalchemy import Connection

Middle = Callable[[np.ndarray], Any]
RESAMPLES = 1000
SURE = ("correct", "wrong")


@dataclass(frozen=True)
class Judged:
    """One person's judgement of one step with a critique."""

    item: int
    pair_id: str
    shown: bool
    right: bool | None  # None: nobody knows, or the person abstained
    with_gsrm: bool | None
    seconds: float | None  # None: the page measured none


def critique_effect(desk: Desk) -> CritiqueEffect:
    """The comparison; `measures` is empty if nobody has judged an item with critiques."""
    judged = desk.read(lambda connection: judged_steps(desk, connection))
    measures: tuple[tuple[CritiqueName, Callable[[Judged], float | None], Middle], ...] = (
        ("right", lambda j: j.right, np.mean),
        ("with_gsrm", lambda j: j.with_gsrm, np.mean),
        ("seconds", lambda j: j.seconds, np.median),
    )
    return CritiqueEffect(
        shown_items=len({j.item for j in judged if j.shown}), kept_items=len({j.item for j in judged if not j.shown}),
        measures=[m for name, value, middle in measures if (m := _measure(name, judged, value, middle)) is not None],
    )  # fmt: skip


def judged_steps(desk: Desk, connection: "Connection") -> list[Judged]:
    """Every judgement of a step with a critique, by item, step and person."""
    from sqlalchemy import select

    items, a = desk.tables.items, desk.tables.answers
    some = items.c.content.contains('"offered"')
    loaded = {row.id: load_item(row) for row in connection.execute(select(items).where(some)).all()}
    asked = select(a).where(a.c.kind == "judge", a.c.item.in_(select(items.c.id).where(some))).order_by(a.c.id)
    said: dict[tuple[int, str], dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for row in connection.execute(asked).all():
        if loaded[row.item].offered and row.step in loaded[row.item].critiques:
            said[row.item, row.step][row.person].append(row)
    judged = []
    for (number, step), by_person in said.items():
        item = loaded[number]
        latest = {person: _latest(rows) for person, rows in by_person.items()}
        settled = next((v for person, v in latest.items() if person.startswith(SETTLED) and v in SURE), None)
        truth, gsrm = item.gold.get(step) or settled, item.examined.get(step)
        for person, verdict in latest.items():
            if verdict is None or person.startswith(SETTLED):
                continue
            sure = verdict in SURE
            judged.append(
                Judged(
                    number, item.pair.pair_id, item.offered == "shown",
                    right=verdict == truth if sure and truth else None,
                    with_gsrm=(verdict == "correct") == (gsrm >= RIGHT) if sure and gsrm is not None else None,
                    seconds=sum(row.seconds for row in by_person[person]) or None,
                )
            )  # fmt: skip
    return judged


def _latest(said: list[Any]) -> str | None:
    """The verdict that stands; None if all were undone."""
    return next((row.verdict for row in reversed(said) if not row.undone), None)


def _measure(
    name: CritiqueName, judged: Sequence[Judged], value: Callable[[Judged], float | None], middle: Middle
) -> CritiqueMeasure | None:
    """One measure of both halves with intervals; None if neither half has it."""
    known = [(j.pair_id, j.shown, float(v)) for j in judged if (v := value(j)) is not None]
    if not known:
        return None
    place: dict[str, int] = {}
    pair = np.array([place.setdefault(pair_id, len(place)) for pair_id, _, _ in known])
    shown = np.array([is_shown for _, is_shown, _ in known])
    values = np.array([number for _, _, number in known])

    def halves(counts: np.ndarray) -> tuple[float, float]:
        """The measure where critiques are shown, and where they are kept back; NaN without a value."""
        times = counts[pair]
        both = (np.repeat(values[half], times[half]) for half in (shown, ~shown))
        with_critique, without = (float(middle(v)) if len(v) else np.nan for v in both)
        return with_critique, without

    own = halves(np.ones(len(place), dtype=int))
    drawn = np.full((1, 2), np.nan)
    if len(place) > 1:
        draws = np.random.default_rng(0).multinomial(len(place), np.full(len(place), 1 / len(place)), RESAMPLES)
        drawn = np.array([halves(counts) for counts in draws])
    return CritiqueMeasure(
        name=name, shown=_known(own[0]), shown_ends=_ends(drawn[:, 0]), shown_count=int(shown.sum()),
        kept=_known(own[1]), kept_ends=_ends(drawn[:, 1]), kept_count=int((~shown).sum()),
        difference=_known(own[0] - own[1]), difference_ends=_ends(drawn[:, 0] - drawn[:, 1]),
    )  # fmt: skip


def _ends(drawn: np.ndarray) -> tuple[float, float] | None:
    known = drawn[~np.isnan(drawn)]
    if not len(known):
        return None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
