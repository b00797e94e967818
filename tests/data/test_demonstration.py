import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.base.errors import UserError
from taosr_she.data.demonstration import Demonstration, fitted, read_demonstrations, write_demonstrations
from taosr_she.domain.domain import load_domain

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NAMES = st.lists(TEXT).map(tuple)
DEMONSTRATIONS = st.lists(st.builds(Demonstration, TEXT, TEXT, TEXT, NAMES, st.none() | NAMES), max_size=4)


@given(DEMONSTRATIONS)
def test_round_trip(tmp_path_factory, demonstrations: list[Demonstration]) -> None:
    path = tmp_path_factory.mktemp("demonstrations") / "d.jsonl"
    write_demonstrations(path, demonstrations)
    assert list(read_demonstrations(path)) == demonstrations


def test_other_keys_are_passed_over_and_flaws_are_optional(tmp_path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps({"pair_id": "p", "response": "r", "teacher": "t", "note": 1}) + "\n")
    assert list(read_demonstrations(path)) == [Demonstration("p", "r", "t")]


def test_what_all_steps_teach_is_written_as_before(tmp_path) -> None:
    write_demonstrations(tmp_path / "d.jsonl", [Demonstration("p", "r", "t"), Demonstration("p", "r", "t", (), ("a",))])
    rows = [json.loads(line) for line in (tmp_path / "d.jsonl").read_text().splitlines()]
    assert rows[0] == {"pair_id": "p", "response": "r", "teacher": "t", "flaws": []} and rows[1]["taught"] == ["a"]


GOOD = b'{"pair_id": "p", "response": "r", "teacher": "t"}\n'


@pytest.mark.parametrize(
    "line",
    [b"{", b"\n", b"[]", b'"text"', b"{}", b'{"pair_id": 1, "response": "r", "teacher": "t"}', b"\xff", b"[" * 100_000,
     b'{"pair_id": "p", "response": "r", "teacher": "t", "flaws": "budget"}',
     b'{"pair_id": "p", "response": "r", "teacher": "t", "flaws": [1]}',
     b'{"pair_id": "p", "response": "r", "teacher": "t", "taught": "query"}'],
)  # fmt: skip
def test_a_bad_line_is_named(tmp_path, line: bytes) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(GOOD + line)
    with pytest.raises(UserError, match=r"d\.jsonl, line 2: .*pair_id, response and teacher"):
        list(read_demonstrations(path))


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(UserError, match="no such file"):
        list(read_demonstrations(tmp_path / "none.jsonl"))


def test_demonstrations_are_put_in_the_order_of_a_domain_with_the_label_first() -> None:
    chorus = load_domain("chorus")
    whole = Demonstration(
        "p", "[query] mug\n[category] same\n[attributes] none\n[label] 2 R2", "t", ("near",), ("query",)
    )
    exercise = Demonstration("q", "[query] mug", "t", taught=("query",))
    assert fitted(chorus, [whole, exercise]) == [whole, exercise]
    first = "[label] 2 R2\n[query] mug\n[category] same\n[attributes] none"
    assert fitted(chorus.with_overrides({"answer_first": True}), [whole, exercise]) == [
        Demonstration("p", first, "t", ("near",), ("query",))
    ]
    assert fitted(chorus.label_alone(), [whole]) == [Demonstration("p", "[label] 2 R2", "t", ("near",), ())]
