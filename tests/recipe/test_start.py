"""The domain goes with every checkpoint of a run, and a stage does not start from a model of another one."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import load_domain
from taosr_she.model.domain_file import save_domain
from taosr_she.recipe.config import Recipe, load_recipe
from taosr_she.recipe.context import Context
from taosr_she.recipe.plan import plan
from taosr_she.recipe.progress import Progress


def recipe(base: Path, out: Path, *overrides: str) -> Recipe:
    return load_recipe("demo", [f"stages.sft.model={base}", f"out={out}", *overrides])


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """What a check before the run sees of a start model: a folder with a model's files and a domain."""
    (tmp_path / "base").mkdir()
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / "base" / name).write_text("{}")
    save_domain(load_domain("esci"), tmp_path / "base")
    return tmp_path / "base"


def test_every_checkpoint_of_a_run_holds_its_domain(toy_run: Path) -> None:
    checkpoints = sorted(toy_run.glob("stages/*/checkpoint"))
    wanted = {"sft", "scalar_reward_model", "gsrm", "hybrid", "gsrm_only", "by_scalar", "labels", "turned"}
    assert {c.parent.name for c in checkpoints} == wanted
    own = load_domain(toy_run / "domain.yaml")
    assert own != load_domain("taobao")  # the recipe's overrides are in it
    assert all(load_domain(checkpoint / "domain.yaml") == own for checkpoint in checkpoints)


def test_a_start_model_of_another_domain_is_refused_before_anything_runs(
    base: Path, tmp_path: Path, cli: Callable[..., tuple[int, str, str]]
) -> None:
    out = tmp_path / "run"
    for dry in ([], ["--dry-run"]):
        code, _, error = cli("run", "demo", f"stages.sft.model={base}", f"out={out}", *dry)
        assert code == 2 and len(error.splitlines()) == 1
        assert f"stage 'sft': model {base} was trained for the domain 'esci'" in error
        assert f"`domain: {base}/domain.yaml`" in error and "`other_domain: true`" in error
    assert not (out / "stages").exists()


def test_a_damaged_start_model_is_refused_before_anything_runs(
    base: Path, tmp_path: Path, cli: Callable[..., tuple[int, str, str]]
) -> None:
    (base / "config.json").write_text("[]")
    code, _, error = cli("run", "demo", f"stages.sft.model={base}", f"out={tmp_path / 'run'}", "--dry-run")
    assert (code, error) == (2, f"taosr-she: model {base}: config.json is not a JSON object; download it again\n")


def test_the_same_domain_or_a_word_of_the_user_lets_it_start(base: Path, tmp_path: Path) -> None:
    for override in (f"domain={base}/domain.yaml", "stages.sft.other_domain=true"):
        chosen = recipe(base, tmp_path / "run", override, "domain_overrides={}")
        assert plan(chosen, chosen.load_domain())[1].name == "sft"
    (base / "domain.yaml").unlink()  # any model of the world: nobody said a domain
    chosen = recipe(base, tmp_path / "run")
    assert plan(chosen, chosen.load_domain())


def test_a_start_model_that_is_not_there_is_said_first_and_not_missed_once_the_stage_is_done(
    base: Path, tmp_path: Path
) -> None:
    chosen = recipe(base, tmp_path / "run", "stages.sft.other_domain=true")
    sft = plan(chosen, chosen.load_domain())[1]
    sft.begin()
    sft.finish(1.0, {})
    shutil.rmtree(base)
    assert plan(chosen, chosen.load_domain())[1].state == "done"
    gone = recipe(base, tmp_path / "other")
    with pytest.raises(UserError, match="base: no such folder"):
        plan(gone, gone.load_domain())


@pytest.fixture
def context(toy_run: Path) -> Context:
    told = Recipe.model_validate(yaml.safe_load((toy_run / "recipe.yaml").read_text()))
    progress = Progress(Console(width=200))
    return Context("later", toy_run / "stages/later", told, told.load_domain(), progress, toy_run / "stages")


def test_a_checkpoint_that_somebody_put_there_is_refused(context: Context, tmp_path: Path) -> None:
    assert context.policy("sft").domain == context.domain
    shutil.copytree(context.checkpoint("sft"), tmp_path / "sft" / "checkpoint")
    save_domain(load_domain("esci"), tmp_path / "sft" / "checkpoint")
    moved = dataclasses.replace(context, stages=tmp_path)
    with pytest.raises(UserError, match=r"stage 'later': .*domain\.yaml differs from the recipe's domain in name"):
        moved.policy("sft")


def test_stages_tell_when_too_many_responses_are_malformed(
    context: Context, capsys: pytest.CaptureFixture[str]
) -> None:
    context.tell_malformed(["cut off", None], "sft")
    context.tell_malformed([None] * 9 + ["cut off"], "sft")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("later, responses of 'sft': warning: 1 of 2 responses (50%) are malformed")
