"""Who gets which item: in order, once a person, double items to two, left and lapsed ones back."""

from concurrent.futures import ThreadPoolExecutor

from annotation_page import DOMAIN, plain_item

from taosr_she.annotate.answers import take_in
from taosr_she.annotate.desk import Desk
from taosr_she.annotate.items import add_items
from taosr_she.annotate.pool import GOLD_SHARE, hand_out
from taosr_she.annotate.wire import Answer


def finish(desk: Desk, person: str, number: int, verdict: str = "correct") -> None:
    answers = [
        Answer(kind="judge", key=f"{person}-{number}-{step}", item=number, step=step, verdict=verdict)
        for step in DOMAIN.step_keys
    ]
    assert not take_in(desk, DOMAIN, person, answers).refused


def leave(desk: Desk, person: str, number: int) -> None:
    take_in(desk, DOMAIN, person, [Answer(kind="leave", key=f"leave-{person}-{number}", item=number)])


def test_items_come_in_order_and_nobody_else_gets_them(desk: Desk) -> None:
    assert list(hand_out(desk, "ann", 3)) == [1, 2, 3]
    assert list(hand_out(desk, "bob", 2)) == [4, 5]
    assert list(hand_out(desk, "ann", 3)) == [1, 2, 3]
    finish(desk, "ann", 1)
    assert list(hand_out(desk, "ann", 3)) == [2, 3, 6]
    assert list(hand_out(desk, "bob", 50)) == [4, 5, 7, 8, 9, 10]
    assert hand_out(desk, "cleo", 5) == {}


def test_a_left_item_comes_back_to_the_pool_and_to_me_only_when_i_ask(desk: Desk) -> None:
    hand_out(desk, "ann", 2)
    leave(desk, "ann", 1)
    leave(desk, "ann", 1)  # sent twice
    assert list(hand_out(desk, "ann", 2)) == [2, 3]
    assert list(hand_out(desk, "bob", 1)) == [1]
    leave(desk, "bob", 1)
    assert list(hand_out(desk, "ann", 3, again=True)) == [1, 2, 3]


def test_a_lapsed_lease_gives_the_item_to_somebody_else_and_a_late_answer_still_counts(desk: Desk) -> None:
    assert list(hand_out(desk, "ann", 1, lease=60, now=1000.0)) == [1]
    assert list(hand_out(desk, "bob", 1, lease=60, now=1050.0)) == [2]
    assert list(hand_out(desk, "cleo", 1, lease=60, now=1061.0)) == [1]
    finish(desk, "ann", 1)  # the page was offline
    assert desk.store.count(annotator="ann") == 5
    finish(desk, "cleo", 1)
    assert desk.store.count(pair_id="p1") == 10
    row = desk.read(lambda c: c.exec_driver_sql("select taken, open from annotate_items where id = 1").one())
    assert tuple(row) == (2, 0)


def test_asking_for_more_renews_the_lease(desk: Desk) -> None:
    hand_out(desk, "ann", 1, lease=60, now=1000.0)
    hand_out(desk, "ann", 1, lease=60, now=1045.0)
    assert list(hand_out(desk, "bob", 1, lease=60, now=1070.0)) == [2]


def test_double_items_go_to_two_different_people(desk: Desk) -> None:
    add_items(desk, [plain_item(20, wanted=2)])
    for person in ("ann", "bob"):
        held = hand_out(desk, person, 50)
        for number in held:
            finish(desk, person, number)
        assert 11 in held
    assert hand_out(desk, "ann", 50) == {} and hand_out(desk, "cleo", 50) == {}


def test_gold_items_are_mixed_in_for_everybody_at_their_share(desk: Desk) -> None:
    add_items(desk, [plain_item(n) for n in range(100, 400)])
    add_items(desk, [plain_item(n, gold={"category": "wrong"}) for n in range(1000, 1100)], seed=1)
    desk.set_fact(GOLD_SHARE, "0.2")
    shares = []
    for person in ("ann", "bob"):
        given: list[int] = []
        for _ in range(10):
            fresh = [n for n in hand_out(desk, person, 12) if n not in given]
            given += fresh
            for number in fresh:
                finish(desk, person, number)
        gold = [n for n in given if n > 310]
        shares.append(len(gold) / len(given))
        assert len(gold) == len(set(gold)) and gold != sorted(gold)
    assert all(0.1 < share < 0.32 for share in shares) and shares[0] != 0


def test_five_people_at_once_never_hold_the_same_item(desk: Desk) -> None:
    add_items(desk, [plain_item(n) for n in range(100, 300)])

    def work(person: str) -> list[int]:
        mine: list[int] = []
        while held := hand_out(desk, person, 7):
            for number in held:
                finish(desk, person, number)
                mine.append(number)
        return mine

    with ThreadPoolExecutor(5) as people:
        done = list(people.map(work, ["ann", "bob", "cleo", "dan", "eve"]))
    assert sorted(n for mine in done for n in mine) == list(range(1, 211))
    assert desk.store.count() == 210 * 5
