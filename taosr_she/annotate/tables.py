"""The tables of the annotation page, beside the table of annotations in the same database.

| table | a row |
| --- | --- |
| `annotate_facts` | one fact about the store: the version of these tables, the domain, the share of gold items |
| `annotate_items` | something to annotate: a response whose steps are judged, or a pair whose conclusions are asked |
| `annotate_people` | an annotator or a lead, with the hash of the token in their link |
| `annotate_assignments` | one item given to one person: held until its lease ends, done, left, or lapsed |
| `annotate_answers` | everything that anybody answered, in order; nothing is deleted, an answer taken back is marked |

The verdicts themselves are in `annotations`, where every other command finds them. `annotate_answers` is the history
from which an undo restores them.
"""

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from taosr_she.examine.store import MAX_ID

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Table

VERSION = "1"
"""Version of these tables. A store with another one is refused."""
MAX_KEY = 64  # characters of the key that a page gives to an answer
WORK, GOLD = "work", "gold"
HELD, DONE, LEFT, LAPSED = "held", "done", "left", "lapsed"


class Tables(NamedTuple):
    """The five tables."""

    metadata: "MetaData"
    facts: "Table"
    items: "Table"
    people: "Table"
    assignments: "Table"
    answers: "Table"


@cache
def tables() -> Tables:
    """The tables, described once."""
    from sqlalchemy import (
        BigInteger,
        Column,
        Float,
        Index,
        Integer,
        MetaData,
        SmallInteger,
        String,
        Table,
        Text,
        UniqueConstraint,
    )

    metadata = MetaData()
    number = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up by itself only in a plain INTEGER

    def counted() -> Column:
        return Column("id", number, primary_key=True, autoincrement=True)

    facts = Table("annotate_facts", metadata, Column("name", String(64), primary_key=True), Column("value", Text()))
    items = Table(
        "annotate_items",
        metadata,
        counted(),
        Column("digest", String(32), nullable=False, unique=True),  # kind, pair, response and asked steps
        Column("kind", String(16), nullable=False),  # verdict | reference
        Column("pool", String(8), nullable=False),  # work | gold
        Column("pair_id", String(MAX_ID), nullable=False),
        Column("response_id", String(MAX_ID), nullable=False),
        Column("content", Text(), nullable=False),  # JSON: the pair's row, the steps' texts, the GSRM's verdicts
        Column("asked", Text(), nullable=False),  # JSON: keys of the steps
        Column("gold", Text(), nullable=False),  # JSON: step -> correct | wrong; {} for work
        Column("reason", String(32), nullable=False),  # the policy that chose it
        Column("place", number, nullable=False),  # order in the queue
        Column("wanted", Integer(), nullable=False),  # people who should annotate it; 0: withdrawn
        Column("taken", Integer(), nullable=False),  # people who hold it or are done
        Column("open", SmallInteger(), nullable=False),  # 1 while taken < wanted
        Index("annotate_items_in_order", "pool", "open", "place"),
        sqlite_autoincrement=True,
    )
    people = Table(
        "annotate_people",
        metadata,
        Column("name", String(MAX_ID), primary_key=True),
        Column("token", String(64), nullable=False, unique=True),  # SHA-256 of the token
        Column("role", String(16), nullable=False),  # annotator | lead
        Column("active", SmallInteger(), nullable=False),
    )
    assignments = Table(
        "annotate_assignments",
        metadata,
        counted(),
        Column("person", String(MAX_ID), nullable=False),
        Column("item", number, nullable=False),
        Column("state", String(8), nullable=False),
        Column("until", Float(53), nullable=False),  # end of the lease, seconds since 1970
        UniqueConstraint("person", "item"),
        Index("annotate_assignments_by_state", "state", "until"),
        Index("annotate_assignments_by_item", "item"),
        Index("annotate_assignments_of_person", "person", "state"),
        sqlite_autoincrement=True,
    )
    answers = Table(
        "annotate_answers",
        metadata,
        counted(),
        Column("person", String(MAX_ID), nullable=False),
        Column("key", String(MAX_KEY), nullable=False),  # given by the page: the same answer sent twice counts once
        Column("kind", String(8), nullable=False),  # judge | undo | leave
        Column("item", number, nullable=False),
        Column("step", String(MAX_ID), nullable=False),
        Column("verdict", String(16), nullable=False),
        Column("conclusion", Text(), nullable=False),  # the right one, of a wrong step or as a reference
        Column("note", Text(), nullable=False),
        Column("seconds", Float(53), nullable=False),  # of reading and thinking
        Column("time", String(32), nullable=False),
        Column("guideline_version", Text(), nullable=False),
        Column("undone", SmallInteger(), nullable=False),
        UniqueConstraint("person", "key"),
        Index("annotate_answers_of_item", "item", "person", "step"),
        Index("annotate_answers_of_person", "person", "kind", "undone"),
        sqlite_autoincrement=True,
    )
    return Tables(metadata, facts, items, people, assignments, answers)
