"""How far an annotator is: counts that stay quick with a hundred thousand items, because indices answer them."""

from typing import TYPE_CHECKING

from taosr_she.annotate.desk import Desk
from taosr_she.annotate.tables import DONE, LEFT, WORK
from taosr_she.annotate.wire import Progress

if TYPE_CHECKING:
    from sqlalchemy import Connection

MOST_OPEN = 1000
"""Open items are counted up to here: the page says "1000 or more"."""


def progress_of(desk: Desk, connection: "Connection", person: str) -> Progress:
    """The progress of one annotator."""
    from sqlalchemy import func, select

    a, items, answers = desk.tables.assignments, desk.tables.items, desk.tables.answers

    def mine(state: str) -> int:
        query = select(func.count()).select_from(a).where(a.c.person == person, a.c.state == state)
        return connection.execute(query).scalar_one()

    judged = select(func.count()).select_from(answers).where(answers.c.person == person, answers.c.undone == 0)
    some = select(items.c.id).where(items.c.pool == WORK, items.c.open == 1).limit(MOST_OPEN).subquery()
    return Progress(
        items_done=mine(DONE),
        steps_judged=connection.execute(judged.where(answers.c.kind == "judge")).scalar_one(),
        left=mine(LEFT),
        open=connection.execute(select(func.count()).select_from(some)).scalar_one(),
    )
