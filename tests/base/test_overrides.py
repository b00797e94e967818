"""Values that replace others in nested settings."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taosr_she.base.errors import UserError
from taosr_she.base.overrides import merged, set_value

trees = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
)
branches = st.dictionaries(st.sampled_from("abc"), trees, max_size=3)


def leaves(tree: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    if not isinstance(tree, dict) or not tree:
        return {path: tree}
    return {p: v for key, value in tree.items() for p, v in leaves(value, (*path, key)).items()}


@given(branches, branches)
def test_what_is_on_top_counts_and_the_rest_stays(base: dict[str, Any], top: dict[str, Any]) -> None:
    result = merged(base, top)
    for path, value in leaves(top).items():
        found: Any = result
        for key in path:
            found = found[key]
        if value != {}:
            assert found == value
    assert result.keys() == base.keys() | top.keys()
    assert merged(base, {}) == base and merged({}, top) == top


def test_a_value_is_put_where_its_key_says() -> None:
    settings: dict[str, Any] = {"a": {"b": 1}}
    set_value(settings, "a.c.d=2.5", "x=1")
    set_value(settings, "a.b=no", "x=1")  # as written: YAML 1.1 would read false
    assert settings == {"a": {"b": "no", "c": {"d": 2.5}}}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("a", "override 'a': expected key=value, e.g. x=1"),
        ("a.b.c=1", "override 'a.b.c=1': 'b' holds a value, not keys"),
    ],
)
def test_a_wrong_override_is_one_line(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        set_value({"a": {"b": 1}}, override, "x=1")
