"""Questions during a training, without a model: bounds, age, what answers do, a kill at every moment of an update."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from taosr_she.annotate.answers import take_in
from taosr_she.annotate.online.online import Online
from taosr_she.annotate.online.record import RECORD, said_in
from taosr_she.annotate.pool import hand_out
from taosr_she.annotate.wire import Answer
from taosr_she.base.errors import UserError
from taosr_she.domain.conclusions import canonical
from taosr_she.domain.pair import Annotation
from taosr_she.domain.response import parse_response, render_response
from taosr_she.examine.verdicts import CODE

from .conftest import PEOPLE, UPDATES

RANDOM = {"policies": {"random": 1.0}}


def asked_in(folder: Path) -> list[tuple[int, dict]]:
    """(update, item) of every item in the record."""
    rows = [json.loads(line) for line in (folder / RECORD).read_text("utf-8").splitlines()]
    return [(row["update"], item) for row in rows for item in row.get("asked", ())]


def judge(training, person: str, number: int, step: str, verdict: str, conclusion: str = "") -> None:
    answer = Answer(kind="judge", key=f"{person}-{number}-{step}-{verdict}", item=number, step=step, verdict=verdict,
                    conclusion=conclusion)  # fmt: skip
    saved = take_in(training.desk, training.domain, person, [answer])
    assert not saved.refused


@pytest.mark.parametrize("unit", ["response", "step"])
def test_questions_are_bounded_and_no_text_is_asked_twice(training, tmp_path: Path, domain, market, unit: str) -> None:
    never = {market.pairs["training"][0].pair_id}
    known = [Annotation(market.pairs["training"][1].pair_id, "category", "same", annotator="before")]
    with training(tmp_path, {"never": never, "known": known}, unit=unit, each_update=5, open=22, **RANDOM) as t:
        rows = [t.update(n)[0] for n in range(1, UPDATES + 1)]
    # of a response all four unknown steps, or none
    most, filled = (5, 22) if unit == "step" else (4, 20)
    assert max(row["online_asked"] for row in rows) == most
    assert filled - 1 <= rows[-1]["online_open"] == sum(row["online_asked"] for row in rows) <= 22
    texts: Counter = Counter()
    for _, item in asked_in(tmp_path):
        assert item["pair_id"] not in never and "label" not in item["asked"] and item["reason"] == "online random"
        assert (item["pair_id"], "category") != (known[0].pair_id, "category") or "category" not in item["asked"]
        for step in item["asked"]:
            texts[item["pair_id"], step] += 1  # all steps of this domain are closed: one question each while it is open
    assert texts and max(texts.values()) == 1
    widths = Counter(len(item["asked"]) for _, item in asked_in(tmp_path))
    assert max(widths) > 1 if unit == "response" else widths[1] > widths.total() / 2


def test_a_budget_counts_what_was_asked_and_not_withdrawn(training, tmp_path: Path) -> None:
    with training(tmp_path, budget=8, max_age=2, each_update=4, **RANDOM) as t:
        rows = [t.update(n)[0] for n in range(1, 5)]
    assert [row["online_asked"] for row in rows] == [4, 4, 0, 4]
    assert [row["online_withdrawn"] for row in rows] == [0, 0, 4, 4]


def test_an_answer_counts_from_the_next_update_for_every_rollout_of_the_pair(training, tmp_path: Path, domain) -> None:
    with training(tmp_path, each_update=4, **RANDOM) as t:
        row, _ = t.update(1)
        assert row["online_answered"] == 0 and row["online_waited"] is None
        number, item = next(iter(hand_out(t.desk, "ann", 1).items()))
        k = domain.step_keys.index("category")
        said = item.steps[k]
        other = "near" if said != "near" else "other"
        judge(t, "ann", number, "category", "wrong", other)
        texts = dict(zip(domain.step_keys, item.steps, strict=True))
        responses = [parse_response(domain, render_response(domain, texts | {"category": c})) for c in (said, other)]
        before = t.online.examine([item.pair] * 2, responses)
        assert np.isnan(before.values[:, k]).all()
        t.online.before(2)
        after = t.online.examine([item.pair] * 2, responses)
        assert after.values[:, k].tolist() == [0.0, 1.0] and set(after.sources[:, k]) == {CODE["human"]}
        assert {key: t.online._row[key] for key in ("answered", "waited")} == {"answered": 1, "waited": 1.0}
        assert t.online._row["changed"] == (item.examined["category"] >= 0.5)
        # taken back: unknown again, and the record says so
        undo = Answer(kind="undo", key="undo-of-it", item=number, of=f"ann-{number}-category-wrong")
        take_in(t.desk, domain, "ann", [undo])
        t.online.after(2, *_nothing(t))
        t.online.before(3)
        assert np.isnan(t.online.examine([item.pair] * 2, responses).values[:, k]).all()
        t.online.after(3, *_nothing(t))
    assert said_in(tmp_path / RECORD) == []


def _nothing(t):
    from types import SimpleNamespace

    pairs, responses = t.rollouts(99)
    return [SimpleNamespace(pairs=pairs, responses=responses, verdicts=t.online.examine(pairs, responses))]


def test_a_verdict_alone_says_nothing_about_other_texts_and_unsure_nothing_at_all(
    training, tmp_path: Path, domain
) -> None:
    with training(tmp_path, each_update=8, **RANDOM) as t:
        t.update(1)
        number, item = next(iter(hand_out(t.desk, "ann", 1).items()))
        judge(t, "ann", number, "category", "wrong")
        judge(t, "ann", number, "query", "unsure")
        t.online.before(2)
        k, q = domain.step_keys.index("category"), domain.step_keys.index("query")
        texts = dict(zip(domain.step_keys, item.steps, strict=True))
        other = "near" if item.steps[k] != "near" else "other"
        both = [
            parse_response(domain, render_response(domain, texts | {"category": c})) for c in (item.steps[k], other)
        ]
        values = t.online.examine([item.pair] * 2, both).values
        assert values[0, k] == 0 and np.isnan(values[1, k]) and np.isnan(values[:, q]).all()
        assert t.online._row["answered"] == 2 and t.online._row["changed"] == (item.examined["category"] >= 0.5)


def test_old_questions_leave_the_pool_and_late_answers_still_count(training, tmp_path: Path, domain) -> None:
    with training(tmp_path, max_age=2, each_update=4, budget=5, **RANDOM) as t:
        t.update(1)
        number = next(iter(hand_out(t.desk, "ann", 1)))
        assert t.update(2)[0]["online_withdrawn"] == 0 and t.update(3)[0]["online_withdrawn"] == 4
        asked_again = {i["pair_id"] for update, i in asked_in(tmp_path) if update == 4}
        assert not asked_again
        assert hand_out(t.desk, "bob", 50) == {}  # nothing new was asked yet, and the old is gone
        judge(t, "ann", number, "category", "correct")  # ann still holds it
        row, _ = t.update(4)
        assert row["online_answered"] == 1 and row["online_waited"] == 3.0
        assert hand_out(t.desk, "bob", 50)  # the next questions


def test_after_the_end_nobody_new_is_asked(training, tmp_path: Path) -> None:
    with training(tmp_path, each_update=8, **RANDOM) as t:
        t.update(1)
        held = hand_out(t.desk, "ann", 1)
        t.online.finish()
        assert hand_out(t.desk, "bob", 5) == {} and hand_out(t.desk, "ann", 5).keys() == held.keys()


def test_the_newest_questions_come_first(training, tmp_path: Path, domain) -> None:
    with training(tmp_path, each_update=4, unit="step", **RANDOM) as t:
        t.update(1)
        t.update(2)
        order = [item.pair.pair_id for item in hand_out(t.desk, "ann", 50).values()]
    first, second = ([i["pair_id"] for update, i in asked_in(tmp_path) if update == n] for n in (1, 2))
    assert order == second + first


def test_what_was_in_the_store_before_counts_from_the_first_update(training, tmp_path: Path, domain, market) -> None:
    pair = market.pairs["training"][0]
    with training(tmp_path, **RANDOM) as t:
        t.desk.store.add([Annotation(pair.pair_id, "category", "same", annotator="lea")])
        t.update(1)
        texts = market.cases[pair.pair_id].truth.steps | {"category": "same"}
        found = t.online.examine([pair], [parse_response(domain, render_response(domain, texts))])
    assert found.values[0, domain.step_keys.index("category")] == 1


def play(training, folder: Path, updates: range, resume: int = 0, **config) -> list:
    with training(folder, people=PEOPLE, each_update=6, max_age=4, open=20, **config) as t:
        t.online.resume(resume)
        return [t.update(n) for n in updates]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Filled by the first test that plays a training to its end."""
    return {"folder": tmp_path_factory.mktemp("whole")}


@pytest.fixture
def played(training, whole: dict) -> list:
    if "rows" not in whole:
        whole["rows"] = play(training, whole["folder"], range(1, UPDATES + 1))
    return whole["rows"]


def test_simulated_people_answer_with_delay_and_leave_what_they_do_not_cover(played: list, whole: dict) -> None:
    rows = [row for row, _ in played]
    assert sum(row["online_answered"] for row in rows) > 10 and sum(row["online_withdrawn"] for row in rows) > 0
    waits = [row["online_waited"] for row in rows if row["online_answered"]]
    assert min(waits) >= 2  # taken one update after it was asked, answered one later at the earliest
    assert sum(row["online_changed"] for row in rows) > 0
    said = said_in(whole["folder"] / RECORD)
    assert {a.annotator for a in said} == {"ann", "bob"}
    from taosr_she.annotate.desk import Desk

    with Desk(whole["folder"] / "online.db") as desk:
        kinds = desk.read(lambda c: Counter((r.person, r.kind) for r in c.execute(desk.tables.answers.select()).all()))
        assert {a for a in desk.store.select()} == set(said)
    assert kinds["bob", "leave"] > 0 and kinds["ann", "leave"] == 0
    verdicts = Counter(a.verdict for a in said)
    assert verdicts["wrong"] and verdicts["correct"]


def test_it_can_be_replayed_without_a_store_or_people(training, played: list, whole: dict, tmp_path: Path) -> None:
    with training(tmp_path, replay=str(whole["folder"] / RECORD), each_update=6, max_age=4, open=20) as t:
        t.online.resume(0)
        again = [t.update(n) for n in range(1, UPDATES + 1)]
    assert _same(again, played)
    assert not (tmp_path / "online.db").exists()
    assert (tmp_path / RECORD).read_text("utf-8") != ""
    assert said_in(tmp_path / RECORD) == said_in(whole["folder"] / RECORD)


MOMENTS = ["act", "_listen", "write_heard", "after_heard", "write_asked", "offer", "after"]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("update", [1, 5, 8])
def test_killed_at_any_moment_it_goes_on_with_the_same_numbers(
    training, played: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, update: int
) -> None:
    from taosr_she.annotate.online import online, simulated
    from taosr_she.annotate.online.record import Record

    class Killed(Exception):
        pass

    count = {"n": 0}

    def dies(where: object, name: str, before: bool) -> None:
        real = getattr(where, name)

        def called(*arguments, **more):
            count["n"] += 1
            if before and count["n"] == update:
                raise Killed
            found = real(*arguments, **more)
            if not before and count["n"] == update:
                raise Killed
            return found

        monkeypatch.setattr(where, name, called)

    where, name, before = {
        "act": (simulated.Simulated, "act", False), "_listen": (Online, "_listen", False),
        "write_heard": (Record, "write_heard", True), "after_heard": (Record, "write_heard", False),
        "write_asked": (Record, "write_asked", True), "offer": (online, "offer", True),
        "after": (online, "offer", False),
    }[moment]  # fmt: skip
    dies(where, name, before)
    with pytest.raises(Killed):
        play(training, tmp_path, range(1, UPDATES + 1))
    monkeypatch.undo()
    file = tmp_path / RECORD
    file.write_bytes(file.read_bytes() + b'{"update": 3, "sa')  # and a line that was being written
    ended = sum(1 for line in file.read_text("utf-8").splitlines() if '"asked"' in line)
    saved = max(0, min(ended, update - 1) // 2 * 2)  # the last checkpoint, one every two updates
    rows = play(training, tmp_path, range(saved + 1, UPDATES + 1), resume=saved)
    assert _same(rows, played[saved:])


def _same(a: list, b: list) -> bool:
    def plain(found: list) -> list:
        return [(row, np.nan_to_num(np.array(values), nan=-1).tolist()) for row, values in found]

    return plain(a) == plain(b)


def test_a_damaged_record_is_one_line(training, tmp_path: Path) -> None:
    play(training, tmp_path, range(1, 5))
    lines = (tmp_path / RECORD).read_text("utf-8").splitlines()
    (tmp_path / RECORD).write_text("\n".join([*lines[:3], "x", *lines[4:]]) + "\n", "utf-8")
    with pytest.raises(UserError, match="damaged: it ends after update 1 of 4; run the stage anew with --redo"):
        play(training, tmp_path, range(5, 7), resume=4)


def test_the_record_of_other_pairs_is_one_line(training, tmp_path: Path) -> None:
    play(training, tmp_path, range(1, 5))
    text = (tmp_path / RECORD).read_text("utf-8")
    (tmp_path / RECORD).write_text(text.replace('"pair_id": "tra', '"pair_id": "other'), "utf-8")
    with pytest.raises(UserError, match="training on other pairs"):
        play(training, tmp_path, range(5, 7), resume=4)


def test_two_conclusions_that_are_the_same_are_one_text(training, tmp_path: Path, domain) -> None:
    from taosr_she.annotate.items import Item
    from taosr_she.annotate.online.ledger import Ledger
    from taosr_she.domain.pair import Pair, Product

    ledger = Ledger(domain)
    texts = ("category: boots; color: red", "category: boots", "same", "color: match", "4")
    ledger.ask(1, [Item(Pair("p", "q", "red boots", Product("red boots")), ("query",), response_id="r", steps=texts)])
    ledger.answer(3, [Annotation("p", "query", texts[0], "unsure", annotator="ann", response_id="r")])
    swapped = "color: red; category: boots"
    assert canonical(domain, domain.steps[0], swapped) == canonical(domain, domain.steps[0], texts[0])
    assert ledger.has("p", "query", swapped) and not ledger.has("p", "query", "category: tent")
    assert ledger.open == 0 and ledger.spent == 1
