"""`taosr-she annotate` as its user meets it: queue, links, and one clear line for every mistake."""

import json
from pathlib import Path

import pytest
from annotation_page import examined_file

from taosr_she.annotate.desk import Desk


@pytest.fixture
def examined(tmp_path: Path) -> Path:
    return examined_file(tmp_path / "examined.jsonl")


def test_a_queue_is_filled_once_and_links_are_given(cli, tmp_path: Path, examined: Path) -> None:
    store = tmp_path / "people.db"
    options = ("--policy", "critical=0.5", "--policy", "random=0.5", "--limit", 20, "--double", 0.25)
    code, out, error = cli("annotate", "queue", store, examined, *options)
    assert code == 0, error
    assert "20 new items" in out and "critical 10, random 10" in out.replace(
        "random 10, critical 10", "critical 10, random 10"
    )
    assert "5 of them for two people" in out
    code, out, _ = cli("annotate", "queue", store, examined, *options)
    assert "0 new items" in out and "20 were there already and stay as they are" in out
    code, out, _ = cli("annotate", "queue", store, examined, "--references", "--limit", 3)
    assert code == 0 and "3 new items" in out
    code, out, _ = cli("annotate", "link", store, "ann", "--lead", "lea", "--url", "https://annotate.example.org/")
    assert "ann: https://annotate.example.org/#" in out and "lea (lead): https://annotate.example.org/lead#" in out
    assert cli("annotate", "link", store, "--remove", "ann")[1] == "ann: link withdrawn\n"
    assert cli("annotate", "link", store)[1] == "ann: annotator, link withdrawn\nlea: lead\n"


def test_gold_comes_from_annotations(cli, tmp_path: Path, examined: Path) -> None:
    rows = [json.loads(line) for line in examined.read_text().splitlines()]
    gold = tmp_path / "gold.jsonl"
    gold.write_text(json.dumps({"pair_id": rows[0]["pair_id"], "step": "category", "conclusion": "same"}) + "\n")
    code, out, error = cli("annotate", "queue", tmp_path / "a.db", examined, "--gold", gold, "--gold-share", 0.1)
    assert code == 0, error
    assert "gold" in out
    with Desk(tmp_path / "a.db") as desk:
        assert desk.fact("gold_share") == "0.1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--policy", "best=1"), "--policy best=1: expected NAME=SHARE with one of disagreement, uncertain,"),
        (("--policy", "random=0"), "--policy random=0: expected NAME=SHARE"),
        (("--policy", "random=1", "--policy", "random=2"), "--policy random=2: random was given twice"),
        (
            ("--step", "colour"),
            "--step colour: domain taobao has the steps query, product, category, attributes, label",
        ),
        (("--gold-share", "0.1"), "--gold-share is a share of gold items: give --gold"),
        (("--domain", "esci"), "no usable row"),
    ],
)
def test_mistakes_are_one_line(cli, tmp_path: Path, examined: Path, arguments, said: str) -> None:
    code, _, error = cli("annotate", "queue", tmp_path / "a.db", examined, *arguments)
    assert code == 2 and said in error and error.count("\n") == 1


def test_serving_needs_a_store_with_items(cli, tmp_path: Path) -> None:
    code, _, error = cli("annotate", "serve", tmp_path / "none.db")
    assert code == 2 and "no such file; fill it with `taosr-she annotate queue" in error
    with Desk(tmp_path / "empty.db"):
        pass
    code, _, error = cli("annotate", "serve", tmp_path / "empty.db")
    assert code == 2 and "nothing to annotate in it" in error
    assert cli("annotate", "link", tmp_path / "empty.db", "machine:x")[2].startswith(
        "taosr-she: annotator 'machine:x': names with 'machine:' belong to programs"
    )


def test_a_taken_port_is_one_line(cli, tmp_path: Path, examined: Path) -> None:
    import socket

    cli("annotate", "queue", tmp_path / "a.db", examined)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, error = cli("annotate", "serve", tmp_path / "a.db", "--port", port)
    assert code == 2 and f"cannot serve on http://127.0.0.1:{port} (Address already in use): choose another" in error


def test_connections_do_not_wait_for_delayed_acknowledgements() -> None:
    """Without this option every answer of the server came 40 ms late."""
    import socket

    from taosr_she.annotate.command import _listening

    with (
        _listening("127.0.0.1", 0, "") as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
