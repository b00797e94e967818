"""What people say: once each, in order, never lost, and back with an undo."""

import sqlite3
from pathlib import Path

import pytest
from annotation_page import DOMAIN, plain_item
from hypothesis import given, settings
from hypothesis import strategies as st

from taosr_she.annotate.answers import take_in
from taosr_she.annotate.desk import Desk
from taosr_she.annotate.items import add_items
from taosr_she.annotate.pool import hand_out
from taosr_she.annotate.wire import Answer, Saved
from taosr_she.base.errors import UserError
from taosr_she.domain.annotation import VERDICTS
from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Annotation
from taosr_she.domain.response import parse_response
from taosr_she.examine.store import AnnotationStore
from taosr_she.examine.verifier import Verifier


def said(key: str, item: int, step: str, verdict: str = "correct", **more) -> Answer:
    return Answer(kind="judge", key=key.ljust(8, "-"), item=item, step=step, verdict=verdict, **more)


def undo(key: str, item: int, of: str) -> Answer:
    return Answer(kind="undo", key=key.ljust(8, "-"), item=item, of=of.ljust(8, "-"))


def take(desk: Desk, person: str, *answers: Answer) -> Saved:
    return take_in(desk, DOMAIN, person, answers)


def test_a_verdict_is_an_annotation_that_the_verifier_and_every_command_read(desk: Desk) -> None:
    (number, item), *_ = hand_out(desk, "ann", 1).items()
    saved = take(
        desk, "ann", said("k1", number, "category", "wrong", conclusion="NEAR", note=" see title ", seconds=2.5),
        said("k2", number, "query"), said("k3", number, "product", "cannot_tell"),
    )  # fmt: skip
    assert saved == Saved(saved=["k1------", "k2------", "k3------"])
    with AnnotationStore(desk.store.name, create=False) as store:
        first, second, third = store.select()
    assert first.time.endswith("Z") and len(first.time) == 27
    kept = Annotation(
        item.pair.pair_id, "category", "same", "wrong", "near", "see title", "ann", first.time, "1", item.response_id
    )
    assert (first, second.verdict, third.verdict) == (kept, "correct", "cannot_tell")
    lines = [f"[{key}] {text}" for key, text in zip(DOMAIN.step_keys, item.steps, strict=True)]
    with AnnotationStore(desk.store.name, create=False) as store:
        verdicts = Verifier(DOMAIN, store).examine([item.pair], [parse_response(DOMAIN, "\n".join(lines))])
    assert verdicts.values[0, :3].tolist()[::2] == [1.0, 0.0]


def test_the_same_answer_sent_twice_counts_once(desk: Desk) -> None:
    number = next(iter(hand_out(desk, "ann", 1)))
    first = said("k1", number, "query", "wrong")
    later = said("k2", number, "query", "correct")
    take(desk, "ann", first)
    take(desk, "ann", later)
    assert take(desk, "ann", first, first, later).saved == ["k1------", "k2------"]
    assert [a.verdict for a in desk.store.select()] == ["correct"]
    assert desk.read(lambda c: c.exec_driver_sql("select count(*) from annotate_answers").scalar()) == 2


def test_undo_brings_back_what_was_said_before(desk: Desk) -> None:
    number = next(iter(hand_out(desk, "ann", 1)))
    take(desk, "ann", said("k1", number, "category", "wrong", conclusion="near"), said("k2", number, "category"))
    assert [a.verdict for a in desk.store.select()] == ["correct"]
    before = next(desk.store.select()).time
    take(desk, "ann", undo("u1", number, "k2"), undo("u1", number, "k2"))
    (restored,) = desk.store.select()
    assert (restored.verdict, restored.correction) == ("wrong", "near") and restored.time <= before
    take(desk, "ann", undo("u2", number, "k1"), undo("u3", number, "k1"), undo("u4", number, "never"))
    assert list(desk.store.select()) == []
    history = desk.read(lambda c: c.exec_driver_sql("select kind, undone from annotate_answers order by id").all())
    assert [tuple(row) for row in history] == [("judge", 1), ("judge", 1)] + [("undo", 0)] * 4


def test_an_undo_of_an_earlier_judgement_leaves_the_later_one(desk: Desk) -> None:
    number = next(iter(hand_out(desk, "ann", 1)))
    take(desk, "ann", said("k1", number, "query", "wrong"), said("k2", number, "query", "unsure"))
    take(desk, "ann", undo("u1", number, "k1"))
    assert [a.verdict for a in desk.store.select()] == ["unsure"]


moves = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([1, 2]), st.sampled_from(["query", "category"]), st.sampled_from(VERDICTS)),
        st.integers(0, 12),  # undo of the answer with this number, if there is one
    ),
    max_size=14,
)  # fmt: skip


@given(moves, st.integers(1, 5), st.integers(0, 3))
@settings(max_examples=40)
def test_batches_equal_one_answer_after_the_other(
    tmp_path_factory: pytest.TempPathFactory, todo: list, batch: int, repeated: int
) -> None:
    """However answers are cut into requests, and if some are sent again, the records are those of a slow replay."""
    answers: list[Answer] = []
    alive: list[tuple[str, int, str, str]] = []  # key, item, step, verdict
    for n, move in enumerate(todo):
        if isinstance(move, tuple):
            answers.append(said(f"k{n}", *move))
            alive.append((f"k{n}", *move))
        elif move < n and isinstance(todo[move], tuple):
            answers.append(undo(f"u{n}", todo[move][0], f"k{move}"))
            alive = [one for one in alive if one[0] != f"k{move}"]
    with Desk(tmp_path_factory.mktemp("batches") / "a.db") as desk:
        desk.use_domain(DOMAIN)
        add_items(desk, [plain_item(1), plain_item(2)])
        hand_out(desk, "ann", 2)
        for start in range(0, len(answers), batch):
            take(desk, "ann", *answers[max(0, start - repeated) : start + batch])
        records = {(a.pair_id, a.step): a.verdict for a in desk.store.select()}
        assert desk.store.count() == len(records)
    assert records == {(f"p{item}", step): verdict for _, item, step, verdict in alive}


def test_references_are_conclusions_and_a_changed_one_replaces_the_former(desk: Desk) -> None:
    asked = tuple(key for key in DOMAIN.step_keys if key != "label")
    add_items(desk, [plain_item(99, kind="reference", asked=asked, response_id="", steps=())])
    number, item = list(hand_out(desk, "ann", 20).items())[-1]
    assert item.kind == "reference" and item.steps == ()
    take(desk, "ann", said("k1", number, "category", conclusion="same"), said("k2", number, "query", "unsure"))
    take(desk, "ann", said("k3", number, "category", conclusion="other"))
    records = {a.step: a for a in desk.store.select()}
    assert records["category"].conclusion == "other" and not records["category"].response_id
    assert records["query"].verdict == "unsure" and len(records) == 2
    take(desk, "ann", undo("u1", number, "k3"))
    assert {a.conclusion for a in desk.store.references(["p99"])} == {"same", ""}
    refused = take(
        desk, "ann", said("k4", number, "category", "wrong"), said("k5", number, "category"),
        said("k6", number, "label", conclusion="4"),
    ).refused  # fmt: skip
    assert [r.error.split(":")[0] for r in refused] == [
        "verdict 'wrong' is none of correct, unsure, cannot_tell",
        "step category needs a conclusion, or the verdict unsure or cannot_tell",
        "step label is not asked of this item",
    ]


@pytest.mark.parametrize(
    ("step", "verdict", "conclusion", "problem"),
    [
        ("colour", "correct", "", "step 'colour' is none of query, product, category, attributes, label"),
        ("query", "maybe", "", "verdict 'maybe' is none of correct, wrong, unsure, cannot_tell"),
        ("category", "wrong", "sibling", "Category match: 'sibling' is none of same, near, accessory, other"),
        ("label", "wrong", "9", "Relevance decision: '9' is no grade; the grades are 4, 3, 2, 1"),
        (
            "attributes", "wrong", "color: red",
            "Attribute match: 'red' of 'color' is none of match, partial, conflict, unknown",
        ),
        ("query", "correct", "color: red", "a conclusion does not go with verdict 'correct'"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused_in_one_line_and_the_others_are_kept(
    desk: Desk, step: str, verdict: str, conclusion: str, problem: str
) -> None:
    number = next(iter(hand_out(desk, "ann", 1)))
    saved = take(
        desk, "ann", said("bad", number, step, verdict, conclusion=conclusion), said("good", number, "product")
    )
    assert [r.error for r in saved.refused] == [problem]
    assert saved.saved == ["good----"] and [a.step for a in desk.store.select()] == ["product"]


def test_an_item_that_was_never_mine_takes_no_answer(desk: Desk) -> None:
    number = next(iter(hand_out(desk, "ann", 1)))
    assert take(desk, "bob", said("k1", number, "query")).refused[0].error == f"item {number} was never given to bob"
    assert take(desk, "bob", said("k2", 12345, "query")).saved == []


def test_a_missing_section_cannot_be_judged(desk: Desk) -> None:
    add_items(desk, [plain_item(50, steps=("category: boots", None, "same", "color: match", "4"), asked=("query",))])
    number = list(hand_out(desk, "ann", 20))[-1]
    refused = take(desk, "ann", said("k1", number, "product")).refused
    assert refused[0].error == "step product is missing in this response, so there is nothing to judge"


def test_answers_given_while_offline_carry_the_time_at_which_they_were_given(desk: Desk) -> None:
    number = next(iter(hand_out(desk, "ann", 1)))
    take(desk, "ann", said("k1", number, "query", age=3600), said("k2", number, "product"))
    old, new = (a.time for a in desk.store.select())
    assert old < new and old[:10] <= new[:10]


def test_an_old_store_gets_the_tables_and_keeps_its_records(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    record = Annotation("p", "category", "same", annotator="ann")
    with AnnotationStore(path) as old:
        old.add([record])
    with Desk(path) as desk:
        desk.use_domain(DOMAIN)
        assert list(desk.store.select()) == [record]
        assert desk.domain() == DOMAIN


def test_stores_of_others_are_refused_with_one_clear_line(tmp_path: Path) -> None:
    newer, foreign = tmp_path / "newer.db", tmp_path / "foreign.db"
    with Desk(newer) as desk:
        desk.set_fact("version", "9")
    with pytest.raises(UserError, match=r"page tables have version 9, this program knows 1; use the program"):
        Desk(newer)
    with sqlite3.connect(foreign) as connection:
        connection.execute("create table annotate_items (id integer, name text)")
    with pytest.raises(UserError, match=r"`annotate_items` is another program's, it lacks digest"):
        Desk(foreign)
    with Desk(tmp_path / "empty.db") as desk, pytest.raises(UserError, match="nothing to annotate in it"):
        desk.domain()


def test_the_domain_of_a_store_can_get_a_new_version_but_no_other_steps(desk: Desk) -> None:
    changed = DOMAIN.with_overrides({"guideline_version": "2", "rules": []})
    desk.use_domain(changed)
    number = next(iter(hand_out(desk, "ann", 1)))
    take_in(desk, changed, "ann", [said("k1", number, "query")])
    assert next(desk.store.select()).guideline_version == "2"
    with pytest.raises(UserError, match=r"differs .* both have guideline_version 2: give it another version"):
        desk.use_domain(DOMAIN.with_overrides({"guideline_version": "2"}))
    with pytest.raises(UserError, match="has other steps or labels than 'chorus'; use another store"):
        desk.use_domain(load_domain("chorus"))
