"""What a recipe or domain says is what is read; traps and twice-told keys are one line."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from taosr_she.base.errors import UserError
from taosr_she.base.strict_yaml import dump_yaml, parse_yaml, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("yes", "yes"), ("on", "on"), ("Off", "Off"), ("y", "y"), ("true", True), ("False", False),
        ("00012", "00012"), ("010", "010"), ("0x1F", "0x1F"), ("1_000", "1_000"), ("12:30", "12:30"), ("-7", -7),
        ("0", 0), ("2020-01-01", "2020-01-01"), ("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("1.0e-3", 0.001),
        ("1e-3", "1e-3"), ("~", None), ("null", None), ("", None), ("'1'", "1"), ("-.inf", float("-inf")),
    ],
)  # fmt: skip
def test_plain_values_are_what_they_look_like(text: str, value: object) -> None:
    found = parse_yaml(f"a: {text}", "x")["a"]
    assert found == value and type(found) is type(value)


def test_under_where_and_in_codes_everything_is_as_written() -> None:
    read = parse_yaml("where: {a: [1.10, true, 7, 007], b: null}\nlabels: [{code: 1.0, name: x}]\nother: 1.10", "x")
    assert read["where"] == {"a": ["1.10", "true", 7, "007"], "b": "null"}
    assert read["labels"] == [{"code": "1.0", "name": "x"}] and read["other"] == 1.1
    assert parse_yaml("no", "x", as_written=True) == "no" and parse_yaml("{a: true}", "x", as_written=True) == {
        "a": "true"
    }
    assert parse_yaml("", "x", as_written=True) == "" and parse_yaml("where: {a: }", "x") == {"where": {"a": ""}}


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "no", "1", "x y"]), inner),
    max_leaves=12,
)  # fmt: skip


@given(values)
@example("a\x85b\u2028c\u2029")
def test_what_is_dumped_is_read_back(value: object) -> None:
    assert parse_yaml(dump_yaml(value), "x") == value


def test_an_alias_brings_a_copy() -> None:
    read = parse_yaml("a: &one {b: {c: 1}}\nd: *one\ne: {<<: *one, f: 2}", "x")
    assert read["d"] == {"b": {"c": 1}} and read["e"] == {"b": {"c": 1}, "f": 2}
    assert read["a"]["b"] is not read["d"]["b"] and read["a"]["b"] is not read["e"]["b"]


def chain(form: str) -> str:
    """Eight lines; each holds the one before it in the places of `form`."""
    names = "abcdefgh"
    lines = [f"{n}: &{n} {form.replace('{}', '*' + before)}" for before, n in pairwise(names)]
    return "\n".join(["a: &a x", *lines])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: 2\na: 3", "the key 'a' occurs twice (lines 1 and 3)"),
        ("a: {b: 1, c: 2, b: 3}", "the key 'b' occurs twice in line 1"),
        ("s:\n  x: {u: 1, u: 2}\n  x: 1", "'u' occurs twice in line 2, the key 'x' occurs twice (lines 2 and 3)"),
        ("a: 1\n'a': 2", "the key 'a' occurs twice"),
        ("a: &a {b: *a}", "an alias is used inside its own definition"),
        ("[" * 3000, "nested deeper than 100 levels"),
        (chain("[" + "{}, " * 8 + "]"), "more than 200000 values or 100 levels, with aliases written out"),
        (chain("[" * 20 + "{}" + "]" * 20), "more than 200000 values or 100 levels, with aliases written out"),
        (f"a: {'9' * 30}", "larger than 9223372036854775807"),
        (f"a: {'9' * 9999}", "'99999999999"),
        ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a: !!binary x", "could not determine a constructor"),
        ("a: !!timestamp 2020-01-01", "could not determine a constructor"),
        ("a: !!int abc", "'abc' is not a valid int"),
        ("a: !!float x", "'x' is not a valid float"),
        ("a: !!bool maybe", "'maybe' is not a valid bool"),
        ("a: {[1]: 2}", "unhashable key"),
        ('a: "\\ud800"', "a lone surrogate"),
        ('a: "\\0"', "null character"),
        ("a: \x07", "not allowed"),
        ("a: [", "line 1: "),
        ("a:\n\t- b", "line 2: found character"),
        ("a: 1\n---\nb: 2", "line 2: "),
        ("? {a: 1}\n: 2", "unhashable key"),
    ],
)  # fmt: skip
def test_traps_are_one_line(text: str, told: str) -> None:
    with pytest.raises(UserError) as error:
        parse_yaml(text, "recipe x")
    message = str(error.value)
    assert told in message and message.startswith("recipe x: ") and "\n" not in message and len(message) < 400


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("name: café\n".encode("latin-1"), "line 1 is not UTF-8"),
        ("a: 1\n".encode("utf-16"), "this is UTF-16"),
        (b"a: 1\nb: \xff", "line 2 is not UTF-8"),
        (bytes(range(256)), "is not UTF-8"),
    ],
)
def test_other_encodings_are_named(tmp_path, content: bytes, told: str) -> None:
    (tmp_path / "x.yaml").write_bytes(content)
    with pytest.raises(UserError, match=told):
        read_yaml(tmp_path / "x.yaml", "recipe x.yaml")


def test_a_byte_order_mark_is_no_text(tmp_path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbfa: 1")
    assert read_yaml(tmp_path / "x.yaml", "x") == {"a": 1}
    with pytest.raises(UserError, match=r"x: cannot be read \(Is a directory\)"):
        read_yaml(tmp_path, "x")
