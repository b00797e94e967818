"""What is refused before any stage runs."""

from pathlib import Path
from typing import Any

import pytest

from taosr_she.base.errors import UserError
from taosr_she.recipe.config import Recipe, load_recipe
from taosr_she.recipe.run import prepare


def recipe(domain: str, **data: Any) -> Recipe:
    return Recipe.model_validate({"name": "x", "domain": domain, "stages": {"data": data}})


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (recipe("taobao", kind="pairs", path="x.csv"), "the lexical teacher writes the steps of 'esci' and 'wands'"),
        (recipe("esci", kind="market"), "the market writes the labels of 'taobao'"),
        (recipe("esci", kind="pairs", path="x.csv", layout="excel"), "unknown layout 'excel'"),
        (recipe("esci", kind="pairs", path="x.csv", columns={"querry": "q"}), "querry"),
        (recipe("nope.yaml", kind="market"), "domain 'nope.yaml' is neither shipped"),
        (recipe("esci", kind="pairs", path="not/there.csv"), "not/there.csv"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused_first(made: Recipe, told: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        prepare(made)
    assert told in str(error.value) and "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("device", ["gpu", "cuda:99", ""])
def test_a_device_that_is_not_there_is_refused_before_anything_is_written(device: str, tmp_path: Path, cli) -> None:
    code, _, err = cli("run", "demo", f"out={tmp_path / 'run'}", f"device='{device}'")
    (line,) = err.splitlines()
    assert code == 2 and f"device '{device}'" in line and not (tmp_path / "run").exists()


def test_a_quota_of_a_label_that_is_none_is_refused() -> None:
    made = load_recipe("selection", ["stages.by_both.selection.diversity.label_quota={Q: 0.5}"])
    with pytest.raises(UserError, match="label_quota names 'Q', which is no label of domain 'taobao': 4, 3, 2, 1"):
        made.check(made.load_domain())


@pytest.mark.parametrize("name", ["demo", "hybrid", "selection", "smoke"])
def test_shipped_recipes_pass(name: str) -> None:
    made = load_recipe(name)
    made.check(made.load_domain())
