from pathlib import Path
from typing import Any

import pytest
import yaml

from taosr_she.base.errors import UserError
from taosr_she.recipe.config import load_recipe, shipped_recipes


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_load_and_show_only_their_own_domain_keys(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.load_domain().prompt.show_rules is False


def test_overrides_replace_values_at_any_depth() -> None:
    recipe = load_recipe("demo", ["seed=7", "stages.srpo.settings.credit.step_weight=0.5", "out=elsewhere"])
    assert recipe.seed == 7 and recipe.folder == Path("elsewhere")
    assert recipe.stages["srpo"].settings.credit.step_weight == 0.5


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sead=1"], "sead: unknown key"),
        (["stages.srpo.settings.credit.weight=1"], "weight: unknown key"),
        (["stages.srpo.settings.credit.step_weight=3"], "step_weight is above outcome_weight"),
        (["stages.srpo.settings.updates=0"], "greater than 0"),
        (
            ["stages.srpo.start=nowhere"],
            "needs an earlier model or sft or label_sft or rejection or dpo or rl or distil stage called 'nowhere'",
        ),
        (["stages.grpo.kind=magic"], "magic"),
        (["seed"], "expected key=value"),
        (["seed.x=1"], "holds a value, not keys"),
        (["seed=[1"], "not valid YAML"),
        (["seed=-1"], "seed: must lie from 0 to 4294967295, not -1"),
        (["seed=4294967296"], "seed: must lie from 0 to 4294967295"),
        (["seed={a: 1, a: 2}"], "the key 'a' occurs twice in line 1"),
        (["threads=-1"], "threads: "),
        (["threads=2000"], "less than or equal to 1024"),
        (["stages.sft.settings.learning_rate=.inf"], "finite number"),
        (["stages.srpo.settings.sampling.temperature=.nan"], "finite number"),
        (["name=true"], "name: YAML reads true here; put quotes around a text"),
        (["name=../../evil"], "cannot be that of the folder runs/<name>"),
        (["stages={}"], "one stage at least"),
        (["stages.grpo=7"], "stage 'grpo' must be a mapping with `kind`"),
        (["stages.a/b={kind: market}"], "a stage cannot be called 'a/b'"),
        (["stages...={kind: market}"], "a stage cannot be called ''"),
        (["stages.data2={}"], "stage 'data2' must be a mapping with `kind`, which is one of market, pairs, model, sft"),
        (["stages.evaluate.compare=[[sft, nobody]]"], "`compare` names 'nobody', which is not among majority, tfidf"),
        (["stages.evaluate.compare=[[sft, sft]]"], "`compare` sets 'sft' against itself"),
        (["stages.evaluate.models=[sft, sft]"], "'sft' occurs twice in `models`, `label_mode` and `baselines`"),
        (["stages.evaluate.baselines=[bm25]"], "'bm25' is none of majority, tfidf, minilm, cross_encoder, and no"),
        (["stages.evaluate.baselines=[json:dumps]"], "json:dumps: cannot be called as (domain, train, test, seed)"),
        (["stages.srpo.settings.credit.rule=srop"], "credit.rule: 'srop' is none of outcome, scalar, process"),
        (["stages.evaluate.models=[]", "stages.evaluate.baselines=[]"], "nothing to measure"),
    ],
)
def test_a_wrong_override_is_one_line_that_names_it(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        load_recipe("demo", overrides)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_an_override_changes_its_stage_alone() -> None:
    recipe = load_recipe("demo", ["stages.grpo.settings.sampling.max_new_tokens=7"])  # both stages say `<<: *rl`
    lengths = [recipe.stages[name].settings.sampling.max_new_tokens for name in ("grpo", "srpo")]
    assert lengths[0] == 7 != lengths[1]


PAIRS = {"kind": "pairs", "path": "x.csv"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{locale: [se, no]}", {"locale": ["se", "no"]}),
        ("{product_id: [00012, 012, 12]}", {"product_id": ["00012", "012", 12]}),
        ("{day: 2020-01-01, time: 12:30, price: 1.10, sold: true}",
         {"day": "2020-01-01", "time": "12:30", "price": "1.10", "sold": "true"}),
    ],
)  # fmt: skip
def test_where_is_what_was_written(tmp_path: Path, text: str, found: dict[str, Any]) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"name: x\nstages:\n  data: {{kind: pairs, path: x.csv, where: {text}}}\n")
    by_override = load_recipe(path, [f"stages.data.where={text}"])
    assert load_recipe(path).stages["data"].where == by_override.stages["data"].where == found
    one = load_recipe(path, ["stages.data.where.locale=no"]).stages["data"].where["locale"]
    assert one == "no"
    again = tmp_path / "again.yaml"
    again.write_text(yaml.safe_dump(by_override.model_dump(mode="json"), sort_keys=False))
    assert load_recipe(again).stages["data"].where == found  # the resolved recipe means the same


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"where": {"a": {"b": 1}}}, "'a' must be a value or a list of values"),
        ({"not_scored": {"a": [[1]]}}, "'a' must be a value or a list of values"),
        ({"split": {"training": 0.5, "test": 0.2}}, "must sum to 1"),
        ({"split": {"training": 1.5, "test": -0.5}}, "must not be negative"),
        ({"split": {"training": 0.5, "test": 0.3, "validation": 0.2}}, "not 'validation'"),
    ],
)
def test_wrong_settings_of_pairs_are_one_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"name": "x", "stages": {"data": {**PAIRS, **change}}}))
    with pytest.raises(UserError) as error:
        load_recipe(path)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_missing_broken_and_empty_recipe_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a file nor one of: chorus, demo"):
        load_recipe(tmp_path / "no.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    with pytest.raises(UserError, match="not valid YAML"):
        load_recipe(broken)
    broken.write_bytes(b"name: caf\xe9")
    with pytest.raises(UserError, match="line 1 is not UTF-8"):
        load_recipe(broken)
    broken.write_text("name: x\nseed: 1\nname: y")
    with pytest.raises(UserError, match=r"the key 'name' occurs twice \(lines 1 and 3\)"):
        load_recipe(broken)
    broken.write_text("")
    with pytest.raises(UserError, match="expected a mapping"):
        load_recipe(broken)


def test_resolved_recipe_loads_again_to_the_same(tmp_path: Path) -> None:
    recipe = load_recipe("demo", ["seed=3"])
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json", exclude={"shared"}), sort_keys=False))
    assert load_recipe(path).model_dump(exclude={"shared"}) == recipe.model_dump(exclude={"shared"})


RL = {"kind": "rl", "start": "sft"}


@pytest.mark.parametrize(
    ("examination", "message"),
    [
        ({"gsrm": "gs"}, "stage 'rl' needs an earlier gsrm or gsrm_rl stage called 'gs'"),
        ({"mode": "gsrm_only"}, "mode `gsrm_only` needs a `gsrm` stage or an `endpoint`, or an `examiner`"),
        (
            {"mode": "scalar_reward_model"},
            "mode `scalar_reward_model` and the name of a `scalar_reward_model` stage go together",
        ),
        (
            {"scalar_reward_model": "sft"},
            "mode `scalar_reward_model` and the name of a `scalar_reward_model` stage go together",
        ),
        (
            {"mode": "scalar_reward_model", "scalar_reward_model": "sft"},
            "stage 'rl' needs an earlier scalar_reward_model stage called 'sft'",
        ),
        (
            {"examiner": "json:dumps"},
            "examination: json:dumps: expected a class with a method examine(pairs, responses)",
        ),
        ({"examiner": "gsrm"}, "'gsrm' is not an import path"),
        ({"examiner": "json:dumps", "gsrm": "gsrm"}, "replaces `gsrm` and `endpoint`: name one of them"),
        ({"examiner_options": {"a": 1}}, "`examiner_options` belong to an `examiner`"),
        ({"mode": "majority"}, "stages.rl.examination.mode"),
        ({"judge": "gsrm"}, "stages.rl.examination: `judge` is now called `gsrm`: rename it"),
        ({"scalar": "s"}, "stages.rl.examination: `scalar` is now called `scalar_reward_model`: rename it"),
        ({"mode": "judge_only"}, "mode: mode `judge_only` is now called `gsrm_only`: rename it"),
        ({"mode": "scalar"}, "mode: mode `scalar` is now called `scalar_reward_model`: rename it"),
        ({"flip": 1.5}, "flip: Input should be less than or equal to 1"),
        (
            {"mode": "scalar_reward_model", "scalar_reward_model": "s", "flip": 0.1},
            "mode `scalar_reward_model` has none",
        ),
    ],
)
def test_examiners_that_are_not_there_are_named(tmp_path: Path, examination: dict[str, Any], message: str) -> None:
    stages = {"data": {"kind": "market"}, "sft": {"kind": "sft"}, "rl": {**RL, "examination": examination}}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"name": "x", "stages": stages}, sort_keys=False))
    with pytest.raises(UserError) as error:
        load_recipe(path)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stages.gsrm.scalar_reward_model=sft", "stage 'gsrm' needs an earlier scalar_reward_model stage called 'sft'"),
        (
            "stages.hybrid.examination.gsrm=hybrid",
            "stage 'hybrid' needs an earlier gsrm or gsrm_rl stage called 'hybrid'",
        ),
        (
            "stages.hybrid.examination.endpoint={base_url: http://localhost:8000/v1, model: m}",
            "name a `gsrm` stage or an `endpoint`, not both",
        ),
        ("stages.hybrid.examination.monitor.windows=3", "monitor.windows: unknown key"),
        ("stages.gsrm.scalar=sft", "stages.gsrm: `scalar` is now called `scalar_reward_model`: rename it"),
        ("stages.gsrm.kind=judge", "stages.gsrm: kind 'judge' is now called 'gsrm': rename it"),
        ("stages.scalar_reward_model.kind=scalar", "kind 'scalar' is now called 'scalar_reward_model': rename it"),
        ("stages.data.probe_share=1", "probe_share: Input should be less than 1"),
    ],
)
def test_wrong_settings_of_examination_are_one_line(override: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        load_recipe("hybrid", [override])
    assert message in str(error.value) and "\n" not in str(error.value)


def test_the_mode_follows_from_who_is_there() -> None:
    recipe = load_recipe("hybrid", ["stages.hybrid.examination={gsrm: gsrm}"])
    modes = {name: stage.examination.resolved_mode for name, stage in recipe.stages.items() if stage.kind == "rl"}
    assert modes == {
        "outcome": "human_only", "human_only": "human_only", "gsrm_only": "gsrm_only", "hybrid": "human_first",
        "oracle": "human_only",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "stages.curriculum.curriculum=[{name: a, updates: 1, pairs: sft}]",
            "needs an earlier select stage called 'sft'",
        ),
        (
            "stages.curriculum.curriculum=[{name: a, updates: 1}, {name: a, updates: 1}]",
            "two stages have the same name",
        ),
        ("stages.none.curriculum=[{name: a, updates: 1, pass_low: 0.5}]", "bands of pass rates need `pairs`"),
        ("stages.none.curriculum=[{name: a, updates: 1, settings: {lr: 1}}]", "lr: unknown key"),
        ("stages.by_both.selection.diversity.budgets=3", "diversity.budgets: unknown key"),
    ],
)
def test_wrong_selection_and_curriculum_are_one_line(override: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        load_recipe("selection", [override])
    assert message in str(error.value) and "\n" not in str(error.value)
