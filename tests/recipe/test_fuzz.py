"""Whatever stands in a recipe or domain file: it is read, or refused with one line, and nothing else happens."""

import copy
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from taosr_she.base.errors import UserError
from taosr_she.base.strict_yaml import dump_yaml
from taosr_she.domain.domain import load_domain
from taosr_she.recipe.config import load_recipe, shipped_recipes

RECIPES = [
    resources.files("taosr_she.recipe").joinpath("recipes", f"{name}.yaml").read_text("utf-8")
    for name in shipped_recipes()
]
DOMAINS = [
    resources.files("taosr_she.domain").joinpath("domains", f"{name}.yaml").read_text("utf-8")
    for name in ("taobao", "esci", "wands")
]
WORDS = [
    "data", "sft", "rl", "kind", "market", "pairs", "evaluate", "select", "gsrm", "settings", "name", "stages", "seed",
    "out", "no", "true", "~", "0012", "1e9", ".inf", "../x", "", " ", "\n", "a" * 300, "é", "\x1b[31m", "<<", "where",
]  # fmt: skip
scalars = (
    st.none() | st.booleans() | st.integers() | st.integers(-3, 3) | st.floats() | st.sampled_from(WORDS) | st.text()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | scalars, inner, max_size=3),
    max_leaves=6,
)
ugly = st.sampled_from([
    b"&a [*a]", b"*nowhere", b"!!python/name:os.system", b"!!set {a, b}", b"!!binary gA==", b"!!timestamp 2020-01-01",
    b"!!float x", b"? [a]\n: b", b"<<: 1", b"\t", b"\x00", b"\xff\xfe", b"%YAML 9.9", b"---", b"...", b"|", b">-", b"'",
    b'"', b'"\\ud800"', b"[" * 200, b"{" * 200, b"9" * 5000, b"- - - - -", b": :", b"#", b"\xe2\x80\xa8", b"!<x> y",
])  # fmt: skip
FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values inside."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [place for key, value in inner for place in [(*path, key), *places(value, (*path, key))]]


def changed(content: Any, path: tuple[Any, ...], value: Any, how: str) -> Any:
    content = copy.deepcopy(content)
    place = content
    for key in path[:-1]:
        place = place[key]
    if how == "drop":
        del place[path[-1]]
    elif how == "rename" and isinstance(place, dict):
        try:
            place[value] = place.pop(path[-1])
        except TypeError:  # a key that cannot be one
            place[str(value)] = None
    else:
        place[path[-1]] = value
    return content


def reads_or_refuses(load: Any) -> None:
    try:
        load()
    except UserError as error:
        message = str(error)
        assert message and "\n" not in message and "\x1b" not in message


def load_whole(path: Path, overrides: tuple[str, ...] = ()) -> None:
    """As a dry run does, but for files that the stages read."""
    recipe = load_recipe(path, overrides)
    recipe.check(recipe.load_domain())
    again = path.with_name("again.yaml")
    kept = dump_yaml(recipe.model_dump(mode="json", exclude={"shared"}))
    again.write_text(kept, "utf-8")
    assert load_recipe(again) == recipe.model_copy(update={"shared": {}})  # the run folder keeps this very recipe


def mutated(data: st.DataObject, texts: Sequence[str]) -> bytes:
    """One of the texts, as YAML, with up to three of its values set to anything, left out, or renamed."""
    content = yaml.safe_load(data.draw(st.sampled_from(texts)))
    for _ in range(data.draw(st.integers(1, 3))):
        paths = places(content)
        assume(paths)
        how = data.draw(st.sampled_from(["set", "set", "drop", "rename"]))
        content = changed(content, data.draw(st.sampled_from(paths)), data.draw(values), how)
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode("utf-8", "surrogatepass")


@pytest.mark.fuzz
@FUZZ
@given(st.data())
def test_any_value_anywhere_in_a_recipe(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(mutated(data, RECIPES))
    reads_or_refuses(lambda: load_whole(path))


@pytest.mark.fuzz
@FUZZ
@given(st.sampled_from(RECIPES), st.data())
def test_any_bytes_anywhere_in_a_recipe(tmp_path: Path, text: str, data: st.DataObject) -> None:
    content = text.encode()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        content = content[:at] + data.draw(ugly | st.binary(max_size=4)) + content[at + data.draw(st.integers(0, 9)) :]
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    reads_or_refuses(lambda: load_whole(path))


@pytest.mark.fuzz
@FUZZ
@given(st.sampled_from(RECIPES), st.data())
def test_any_override(tmp_path: Path, text: str, data: st.DataObject) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, "utf-8")
    keys = [".".join(map(str, place)) for place in places(yaml.safe_load(text))]
    key = data.draw(st.sampled_from(keys) | st.text(max_size=8))
    dumped = values.map(lambda value: yaml.safe_dump(value, default_flow_style=True, width=10_000))
    value = data.draw(dumped | st.text() | ugly.map(lambda raw: raw.decode("utf-8", "surrogateescape")))
    reads_or_refuses(lambda: load_whole(path, (f"{key}={value}",)))


@pytest.mark.fuzz
@FUZZ
@given(st.data())
def test_any_value_anywhere_in_a_domain(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "shop.yaml"
    path.write_bytes(mutated(data, DOMAINS))
    reads_or_refuses(lambda: load_domain(path))
