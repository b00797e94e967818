"""The kinds of stage: one file and one line each, and kinds of somebody else's."""

import sys
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import pytest
import yaml

import taosr_she.recipe.stages as stages
from taosr_she.base.errors import UserError
from taosr_she.recipe.config import Recipe, load_recipe
from taosr_she.recipe.context import Context
from taosr_she.recipe.plan import plan
from taosr_she.recipe.stage import Stage

OWN = """
from taosr_she.recipe.stage import Stage

class Half(Stage):
    offers = "select"
    share: float = 0.5

    def run(self, context):
        return {}

class Idle(Stage):
    pass
"""


@pytest.fixture
def own_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_stages.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_stages", raising=False)
    return tmp_path / "own_stages.py"


def recipe(half: dict[str, Any], **rl: Any) -> Recipe:
    return Recipe.model_validate({
        "name": "x",
        "stages": {"data": {"kind": "market"}, "sft": {"kind": "sft"}, "half": half, "rl": {"kind": "rl", **rl}},
    })  # fmt: skip


def test_every_file_is_a_kind_of_its_name() -> None:
    files = {p.stem for p in Path(stages.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == set(stages.KINDS)
    for name, kind in stages.KINDS.items():
        assert get_args(kind.model_fields["kind"].annotation) == (name,)
        assert kind.__module__ == f"taosr_she.recipe.stages.{name}" and kind.run is not Stage.run


def test_a_new_kind_is_a_class_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Half(Stage):
        kind: Literal["half"]
        offers: ClassVar[str] = "select"
        share: float = 0.5

        def run(self, context: Context) -> dict[str, Any]:
            return {}

    monkeypatch.setitem(stages.KINDS, "half", Half)
    made = recipe({"kind": "half", "share": 0.25}, pairs="half")
    planned = {p.name: p for p in plan(made, made.load_domain())}
    assert planned["rl"].inputs["half"] == planned["half"].fingerprint
    assert made.model_dump()["stages"]["half"] == {"kind": "half", "share": 0.25}
    with pytest.raises(ValueError, match="stage 'rl' needs an earlier select or half stage called 'nobody'"):
        recipe({"kind": "half"}, pairs="nobody")


def test_a_kind_by_import_path_is_planned_and_runs_again_when_its_file_changes(own_stages: Path) -> None:
    made = recipe({"kind": "own_stages:Half", "share": 0.25}, pairs="half")
    domain = made.load_domain()
    first = [p.fingerprint for p in plan(made, domain)]
    own_stages.write_text(OWN + "\n# another\n")
    second = [p.fingerprint for p in plan(made, domain)]
    assert first[:2] == second[:2] and first[2] != second[2] and first[3] != second[3]
    again = yaml.safe_load(yaml.safe_dump(made.model_dump(mode="json"), sort_keys=False))
    assert Recipe.model_validate(again) == made


def test_an_rl_stage_runs_again_when_the_code_it_names_changes(own_stages: Path) -> None:
    code = own_stages.with_name("own_credit.py")
    code.write_text(
        "class Nobody:\n    def __init__(self, domain): pass\n    def examine(self, pairs, responses): pass\n"
        "def rule(config, verdicts, outcomes, groups, label_step): pass\n"
    )
    legs = [
        {"name": "a", "updates": 1},
        {"name": "b", "updates": 1, "settings": {"credit": {"rule": "own_credit:rule"}}},
    ]
    half = {"kind": "own_stages:Half"}
    for named in ({"examination": {"examiner": "own_credit:Nobody"}}, {"curriculum": legs}):
        made = recipe(half, **named)
        first = plan(made, made.load_domain())[-1]
        code.write_text(code.read_text() + "# another\n")
        second = plan(made, made.load_domain())[-1]
        assert set(first.inputs) - {"data", "sft"} <= {"own_credit:Nobody", "own_credit:rule"}
        assert len(first.inputs) == 3 and first.fingerprint != second.fingerprint


def test_levers_that_are_not_used_leave_the_fingerprint_of_an_rl_stage_as_it_was() -> None:
    plain = stages.KINDS["rl"].model_validate({"kind": "rl"}).computed()
    assert "collapse" not in plain and "balance" not in plain["settings"]
    assert "label_weight" not in plain["settings"]["credit"] and "label_entropy" not in plain["settings"]["loss"]
    for used in (
        {"collapse": {"on_collapse": "stop"}},
        {"settings": {"balance": True}},
        {"settings": {"credit": {"label_weight": 0.5}}},
        {"settings": {"loss": {"label_entropy": 0.1}}},
    ):
        assert stages.KINDS["rl"].model_validate({"kind": "rl", **used}).computed() != plain


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("hafl", "stages.half: kind 'hafl' is none of market, pairs, .*, evaluate, and no import path"),
        ("own_stages:Hafl", "stages.half: own_stages:Hafl: the module has no 'Hafl'; it has Half, Idle"),
        ("own_stages:Idle", "expected a subclass of taosr_she.recipe.stage.Stage with a `run`"),
        ("json:dumps", "expected a subclass of taosr_she.recipe.stage.Stage"),
    ],
)
def test_a_kind_that_is_none_is_refused(kind: str, told: str, own_stages: Path) -> None:
    path = own_stages.with_name("recipe.yaml")
    path.write_text(yaml.safe_dump({"name": "x", "stages": {"half": {"kind": kind}}}))
    with pytest.raises(UserError, match=told) as error:
        load_recipe(path)
    assert "\n" not in str(error.value)


def test_an_option_of_an_own_kind_is_checked(own_stages: Path) -> None:
    with pytest.raises(ValueError, match=r"stages\.half\.share"):
        recipe({"kind": "own_stages:Half", "share": "much"})
