"""Many questions: what is asked again, what is counted, and when a run stops."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taosr_she.base.errors import UserError
from taosr_she.endpoint.asker import Asker, Question
from taosr_she.endpoint.patience import SILENT_LIMIT, USELESS_LIMIT

Make = Callable[..., Asker]
Ask = Callable[[int], list[Question]]


def outcomes(asker: Asker) -> list[str]:
    return [json.loads(line)["outcome"] for line in asker.path.read_text().splitlines()]


def test_a_refusal_is_asked_again_in_the_next_run_and_comes_last(server, make_asker: Make, ask: Ask) -> None:
    server.say = lambda h: h.send(400, {"error": {"message": "model is still loading"}})
    with pytest.raises(
        UserError, match=r"5 questions in a row without an answer, the last: refused: status 400: model"
    ):
        make_asker().ask_all(ask(9))
    server.say = lambda h: h.answer()
    asker = make_asker()
    asker.ask_all(ask(9))
    asked = [int(body["messages"][0]["content"]) for body in server.requests]
    assert asked == [0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 2, 3, 4]
    assert outcomes(asker) == ["refused"] * 5 + ["kept"] * 9


def test_refusals_of_some_questions_do_not_stop_a_run_for_ever(server, make_asker: Make, ask: Ask) -> None:
    """An endpoint that filters 30 texts of 40: every run gets further, and the last one ends."""

    def say(h: Any) -> None:
        number = int(h.body["messages"][0]["content"])
        h.answer() if number % 4 == 0 else h.send(400, {"error": "filtered"})

    server.say = say
    hard = [q for q in ask(80) if int(q.pair_id[1:]) % 4] + [q for q in ask(4) if q.pair_id == "p0"]
    runs = 0
    while True:
        runs += 1
        asker = make_asker()
        try:
            asker.ask_all(ask(1) + hard)
            break
        except UserError as error:
            assert f"{USELESS_LIMIT} questions in a row without a usable answer, the last: refused" in str(error)
            assert runs < 5
    assert runs == 60 // USELESS_LIMIT + 1
    assert {q.key for q in hard if not asker.decided(q.key)} == set()


def test_paid_answers_of_which_none_is_usable_end_the_run(server, make_asker: Make, ask: Ask) -> None:
    server.say = lambda h: h.answer("nonsense")
    with pytest.raises(
        UserError, match=r"20 questions in a row without a usable answer, the last: not good; .*answers"
    ):
        make_asker(attempts=2).ask_all(ask(600))
    assert len(server.requests) == 2 * USELESS_LIMIT
    with pytest.raises(UserError, match="20 questions in a row"):
        make_asker(attempts=2, concurrency=8).ask_all(ask(600))
    assert len(server.requests) <= 4 * USELESS_LIMIT + 16


def test_a_usable_answer_in_between_lets_the_run_go_on(server, make_asker: Make, ask: Ask) -> None:
    server.say = lambda h: h.answer("good" if h.number % 10 == 9 else "nonsense")
    asker = make_asker(attempts=1)
    asker.ask_all(ask(100))
    assert outcomes(asker).count("kept") == 10


def test_raising_max_tokens_asks_for_unusable_answers_again_and_not_for_good_ones(
    server, make_asker: Make, ask: Ask
) -> None:
    server.say = lambda h: h.answer("good" if h.number != 1 or h.body["max_tokens"] > 500 else "cut o")
    make_asker(attempts=1, max_tokens=500).ask_all(ask(3))
    make_asker(attempts=1, max_tokens=500).ask_all(ask(3))
    assert len(server.requests) == 3
    asker = make_asker(attempts=1, max_tokens=2000)
    asker.ask_all(ask(3))
    assert [body["messages"][0]["content"] for body in server.requests[3:]] == ["1 "]
    assert server.requests[3]["max_tokens"] == 2000
    assert all(asker.decided(q.key).outcome == "kept" for q in ask(3))  # type: ignore[union-attr]
    make_asker(attempts=1, max_tokens=100).ask_all(ask(3))
    assert len(server.requests) == 4


def test_files_of_before_max_tokens_was_written_down_are_read(server, make_asker: Make, ask: Ask) -> None:
    make_asker().ask_all(ask(2))
    path: Path = make_asker().path
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    old = [{k: v for k, v in row.items() if k != "max_tokens"} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in old))
    make_asker().ask_all(ask(2))
    assert len(server.requests) == 2


def test_a_damaged_200_is_tried_again(server, make_asker: Make, ask: Ask) -> None:
    def say(h: Any) -> None:
        h.send(200, {"error": {"message": "Provider returned error", "code": 502}}) if h.number == 1 else h.answer()

    server.say = say
    asker = make_asker()
    asker.ask_all(ask(3))
    assert outcomes(asker) == ["kept"] * 3 and len(server.requests) == 4
    assert asker.budget.spent.tokens_in == 30


def test_what_may_have_been_billed_is_counted_at_its_most(server, make_asker: Make, ask: Ask) -> None:
    server.say = lambda h: h.send(200, b'{"choices": [{"mess') if h.number == 0 else h.answer()
    asker = make_asker(max_tokens=500)
    asker.ask_all(ask(1))
    assert outcomes(asker) == ["lost", "kept"] and asker.budget.spent.tokens_out == 505


def test_retry_after_has_jitter_and_strange_ones_are_backed_off(server, make_asker: Make, ask: Ask) -> None:
    strange = ["3", "-5", "nan", "inf", "1e400", "Mon, 01 Jan 0001 00:00:00 +2359", "soon", ""]
    server.say = lambda h: (
        h.send(429, {}, {"Retry-After": strange[h.number]}) if h.number < len(strange) else h.answer()
    )
    make_asker(retries=9, backoff_seconds=2, max_wait_seconds=9).ask_all(ask(1))
    first, *others = make_asker.waits
    assert 3 < first <= 5
    assert len(others) == 7 and all(0 < wait <= 9 for wait in others)


@pytest.mark.parametrize("header", ["100000", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_retry_after_beyond_all_patience_leaves_the_question(server, make_asker: Make, ask: Ask, header: str) -> None:
    server.say = lambda h: h.send(429, {"error": "quota"}, {"Retry-After": header})
    asker = make_asker()
    asker.ask_all(ask(SILENT_LIMIT - 1))
    assert make_asker.waits == [] and asker.unanswered["k0"] == "status 429: quota"


def test_nobody_listens(server, make_asker: Make, ask: Ask) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(UserError, match=r"base_url http://127.*no connection.*is the endpoint running\?"):
        make_asker(retries=1).ask_all(ask(2))


def test_progress_is_told_for_every_question(server, make_asker: Make, ask: Ask) -> None:
    told: list[Any] = []

    def progress(total: int) -> Callable[[int, str], object]:
        told.append(total)
        return lambda done, note: told.append((done, note))

    server.say = lambda h: h.answer("good" if h.number else "nonsense")
    make_asker(attempts=1, price_in=1e5).ask_all(ask(3), progress)
    assert told == [3, (1, "0 usable, cost 1.00"), (2, "1 usable, cost 2.00"), (3, "2 usable, cost 3.00")]
    make_asker(attempts=1).ask_all(ask(3), progress)  # nothing is left to ask
    assert len(told) == 4


CHILD = """
import sys
from pathlib import Path
from taosr_she.endpoint.asker import Asker, Question
from taosr_she.endpoint.settings import EndpointConfig
asker = Asker(EndpointConfig(base_url=sys.argv[1], model="m", concurrency=2), Path(sys.argv[2]))
chat = [{"role": "user", "content": "x"}]
asker.ask_all([Question(f"k{i}", f"p{i}", lambda reason: chat, lambda text, finished: None) for i in range(4)])
"""


def test_an_interrupt_ends_at_once_and_counts_what_was_on_its_way(server, tmp_path: Path) -> None:
    server.say = lambda h: server.over.wait(60)
    path = tmp_path / "answers.jsonl"
    root = str(Path(__file__).resolve().parents[2])
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, server.url, str(path)], env=os.environ | {"PYTHONPATH": root},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    end = time.monotonic() + 60
    while len(server.requests) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    start = time.monotonic()
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert time.monotonic() - start < 15 and said.rstrip().endswith("KeyboardInterrupt")
    assert [json.loads(line)["outcome"] for line in path.read_text().splitlines()] == ["lost", "lost"]


def test_the_room_stands_on_the_ground_floor_and_loads_no_http_client() -> None:
    code = (
        "import sys, taosr_she.endpoint.asker; loaded = set(sys.modules);"
        "print(sorted({m.split('.')[1] for m in loaded if m.startswith('taosr_she.')}), 'httpx' in loaded)"
    )
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": root}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['base', 'endpoint'] False"
