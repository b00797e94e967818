"""Training examples that are too long: left out and counted, since one that is cut off would teach cutting off."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from taosr_she.base.errors import UserError

Row = TypeVar("Row")
log = logging.getLogger(__name__)


def fitting(
    what: str, rows: Sequence[Row], length: Callable[[Row], int], max_length: int, positions: int | None
) -> list[Row]:
    """The rows of at most `max_length` tokens that fit into the model's `positions` (None: any number).

    `what` names them, e.g. "SFT: examples". Rows left out are logged with their number and the longest. Raises
    UserError when none is left.
    """
    limit, name = max_length, f"max_length={max_length}"
    mend = "raise it"
    if positions is not None and positions < max_length:
        limit, name = positions, f"the model's {positions} positions"
        mend = "cut the prompt's fields in the domain, or take a model with more"
    kept = [row for row in rows if length(row) <= limit]
    longest = max(map(length, rows), default=0)
    if not kept:
        raise UserError(f"{what}: none of {len(rows)} fits into {name} (the longest has {longest} tokens); {mend}")
    if len(kept) < len(rows):
        log.warning(
            "%s: %d of %d exceed %s (the longest has %d tokens) and are left out",
            what, len(rows) - len(kept), len(rows), name, longest,
        )  # fmt: skip
    return kept
