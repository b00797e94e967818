"""What a MODEL of the command line stands for."""

import json
from pathlib import Path

import pytest

from taosr_she.base.errors import UserError
from taosr_she.serve.find import Found, find_model


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "runs" / "mine"
    for name, kind in (("sft", "sft"), ("srpo", "rl"), ("gsrm", "gsrm"), ("last", "rl")):
        (folder / "stages" / name / "checkpoint").mkdir(parents=True)
        if name != "last":  # not finished
            (folder / "stages" / name / "stage.json").write_text(json.dumps({"kind": kind}))
    (folder / "recipe.yaml").write_text("stages:\n  sft: {}\n  srpo: {}\n  gsrm: {}\n  last: {}\n")
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_run_stands_for_its_last_finished_checkpoint_that_judges(run: Path) -> None:
    checkpoint = run / "stages" / "srpo" / "checkpoint"
    assert find_model("mine") == Found(str(checkpoint.relative_to(run.parents[1])), "mine")
    assert find_model(str(run)) == Found(str(checkpoint), "mine")
    assert find_model(str(checkpoint)) == Found(str(checkpoint), "srpo")


def test_a_run_without_a_checkpoint_says_so(run: Path) -> None:
    for name in ("sft", "srpo"):
        (run / "stages" / name / "stage.json").unlink()
    with pytest.raises(UserError, match="no finished stage has a checkpoint that judges pairs"):
        find_model("mine")


def test_other_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    assert find_model("model") == Found("model", "model")
    assert find_model("owner/name") == Found("owner/name", "owner/name")
    for wrong in ("nothing", "./nothing", "a/b/c", ""):
        with pytest.raises(UserError, match="neither a folder, nor a run in runs/"):
            find_model(wrong)
