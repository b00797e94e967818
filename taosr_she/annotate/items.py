"""Items: what annotators get. A response whose steps are judged, or a pair whose conclusions are asked (blind)."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from taosr_she.annotate.desk import Desk
from taosr_she.annotate.tables import GOLD, WORK
from taosr_she.base.files import dumps
from taosr_she.data.columns import LAYOUTS
from taosr_she.data.rows import pair_from_row, row_from_pair
from taosr_she.domain.pair import Pair

if TYPE_CHECKING:
    from sqlalchemy import Connection

ItemKind = Literal["verdict", "reference"]
Offered = Literal["", "shown", "kept"]
ADD_CHUNK = 500  # items in a transaction
EVERYBODY = 1_000_000  # a gold item is given to each annotator


@dataclass(frozen=True)
class Item:
    """Something to annotate. `steps` has the texts of the K steps of the response, None for a missing one; a reference
    item has none, so that nobody sees what a model said."""

    pair: Pair
    asked: tuple[str, ...]  # keys of the steps to annotate
    kind: ItemKind = "verdict"
    response_id: str = ""
    steps: tuple[str | None, ...] = ()
    examined: Mapping[str, float] = field(default_factory=dict)  # step -> the GSRM's verdict, where known
    gold: Mapping[str, str] = field(default_factory=dict)  # step -> correct | wrong, where known beforehand
    reason: str = "random"  # the policy that chose it
    wanted: int = 1  # annotators
    critiques: Mapping[str, str] = field(default_factory=dict)  # step -> what it should say by the GSRM, where known
    offered: Offered = ""  # whether people see the critiques, or they are kept back for comparison; "": neither

    def text(self, place: int) -> str | None:
        """The text of the step at this place of the schema."""
        return self.steps[place] if self.steps else None


def response_id(pair_id: str, text: str) -> str:
    """An id for a response without one: equal for equal texts of a pair, whatever file they come from."""
    return f"r{hashlib.blake2b(f'{len(pair_id)}:{pair_id}{text}'.encode(), digest_size=8).hexdigest()}"


def add_items(desk: Desk, items: Sequence[Item], seed: int = 0, first: bool = False) -> int:
    """Put items at the end of the queue, in this order, or with `first` before all others; returns how many were new.

    An item that is already there (same kind, pair, response and asked steps) stays as it is.
    """
    new = 0
    for start in range(0, len(items), ADD_CHUNK):
        chunk = items[start : start + ADD_CHUNK]
        new += desk.write(lambda connection, chunk=chunk: _add(desk, connection, chunk, seed, first))  # type: ignore[misc]
    return new


def digest_of(item: Item) -> str:
    """What makes two items the same: kind, pair, response and asked steps."""
    parts = [item.kind, item.pair.pair_id, item.response_id, *item.asked]
    joined = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.blake2b(joined.encode(), digest_size=16).hexdigest()


def load_item(row: Any) -> Item:
    """The item in a row of the table."""
    content = json.loads(row.content)
    return Item(
        pair=pair_from_row(content["pair"], LAYOUTS["plain"]).pair,
        asked=tuple(json.loads(row.asked)),
        kind=row.kind,
        response_id=row.response_id,
        steps=tuple(content["steps"]),
        examined=content["examined"],
        gold=json.loads(row.gold),
        reason=row.reason,
        wanted=row.wanted,
        critiques=content.get("critiques", {}),
        offered=content.get("offered", ""),
    )


def load_items(desk: Desk, connection: "Connection", ids: Iterable[int]) -> dict[int, Item]:
    """Items by number; unknown numbers are left out."""
    from sqlalchemy import select

    items = desk.tables.items
    found = connection.execute(select(items).where(items.c.id.in_(list(ids)))).all()
    return {row.id: load_item(row) for row in found}


def _add(desk: Desk, connection: "Connection", chunk: Sequence[Item], seed: int, first: bool) -> int:
    from sqlalchemy import func, select

    items = desk.tables.items
    rows = {row["digest"]: row for row in map(_row, chunk)}
    known = connection.execute(select(items.c.digest).where(items.c.digest.in_(list(rows)))).scalars().all()
    fresh = [row for digest, row in rows.items() if digest not in set(known)]
    last = connection.execute(select(func.max(items.c.id))).scalar() or 0
    for number, row in enumerate(fresh, start=last + 1):
        # Gold items: not in the order of the file, which people could know.
        row["place"] = number if row["pool"] == WORK else Random(f"{seed} {row['digest']}").getrandbits(40)
        if first:  # numbers grow, so later ones come before earlier ones; those added together keep their order
            row["place"] = number - 2 * last - len(fresh) - 1
    if fresh:
        connection.execute(items.insert(), fresh)
    return len(fresh)


def _row(item: Item) -> dict[str, Any]:
    content = {"pair": row_from_pair(item.pair), "steps": list(item.steps), "examined": dict(item.examined)}
    return {
        "digest": digest_of(item),
        "kind": item.kind,
        "pool": GOLD if item.gold else WORK,
        "pair_id": item.pair.pair_id,
        "response_id": item.response_id,
        "content": dumps(content | _critiques(item)),
        "asked": dumps(list(item.asked)),
        "gold": dumps(dict(item.gold)),
        "reason": GOLD if item.gold else item.reason,
        "wanted": EVERYBODY if item.gold else item.wanted,
        "taken": 0,
        "open": 1,
    }


def _critiques(item: Item) -> dict[str, Any]:
    """What an item with critiques keeps besides."""
    return {"critiques": dict(item.critiques), "offered": item.offered} if item.offered else {}
