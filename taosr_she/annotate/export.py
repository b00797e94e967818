"""All records of a store as a file, in every layout of `taosr-she annotations export`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from taosr_she.annotate.desk import Desk
from taosr_she.base.errors import UserError
from taosr_she.base.files import write_text
from taosr_she.data.columns import LAYOUTS
from taosr_she.data.rows import pair_from_row
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.examine.interchange import export_annotations
from taosr_she.examine.label_studio import labeling_config

if TYPE_CHECKING:
    from sqlalchemy import Connection

EXPORTS = {
    "jsonl": "annotations.jsonl",
    "label_studio": "label-studio.json",
    "label_studio_config": "label-studio.config.xml",
    "stepwise": "stepwise.jsonl",
}
"""Layout -> name of the file."""


def export_to(desk: Desk, domain: Domain, layout: str, path: Path) -> None:
    """Write the file. The pairs are those of the items; UserError if a layout that shows pairs needs another one."""
    if layout == "label_studio_config":
        write_text(path, labeling_config(domain))
        return
    records = list(desk.store.select())
    pairs = {} if layout == "jsonl" else desk.read(lambda connection: _pairs(desk, connection))
    unknown = {a.pair_id for a in records} - pairs.keys()
    if layout != "jsonl" and unknown:
        raise UserError(
            f"{len(unknown)} annotated pairs came from elsewhere and are no items of this store: use `taosr-she "
            f"annotations export {desk.store.name} FILE --layout {layout} --pairs PAIRS`"
        )
    export_annotations(path, layout, records, domain, pairs.values())  # type: ignore[arg-type] # one of EXPORTS


def _pairs(desk: Desk, connection: "Connection") -> dict[str, Pair]:

    from sqlalchemy import func, select

    items = desk.tables.items
    first = select(func.min(items.c.id)).group_by(items.c.pair_id)
    found: dict[str, Pair] = {}
    for content in connection.execute(select(items.c.content).where(items.c.id.in_(first))).scalars():
        pair = pair_from_row(json.loads(content)["pair"], LAYOUTS["plain"]).pair
        found[pair.pair_id] = pair
    return found
