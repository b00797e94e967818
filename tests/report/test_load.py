"""Reading run folders: whole, unfinished, broken."""

from collections.abc import Callable
from pathlib import Path

import pytest

from taosr_she.base.errors import UserError
from taosr_she.report.load import load_run


def test_stages_come_in_the_order_of_the_recipe_with_their_rows(shared_run: Path) -> None:
    run = load_run(shared_run)
    assert [stage.name for stage in run.stages] == ["data", "sft", "grpo", "srpo", "evaluate"]
    assert [len(stage.metrics) for stage in run.stages] == [0, 1000, 60, 60, 0]
    assert run.results is not None and set(run.results["models"]) == {"majority", "tfidf", "sft", "grpo", "srpo"}
    assert run.name == "demo" and run.date is not None and run.gaps == []


def test_an_unfinished_run_names_what_is_absent(new_run: Callable[..., Path]) -> None:
    folder = new_run(updates=4)
    (folder / "stages" / "srpo" / "stage.json").unlink()
    (folder / "stages" / "evaluate" / "results.json").unlink()
    (folder / "environment.json").unlink()
    metrics = folder / "stages" / "srpo" / "metrics.jsonl"
    metrics.write_text(metrics.read_text("utf-8") + '{"step": 5, "rew', "utf-8")
    run = load_run(folder)
    assert run.results is None
    assert len(run.of_kind("rl")[1].metrics) == 4, "the kind comes from the recipe, the half line is left out"
    said = " ".join(run.gaps)
    for expected in ("environment.json", "srpo is not finished", "last line of srpo/metrics.jsonl", "results.json"):
        assert expected in said


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("recipe.yaml", "name: [", "not valid YAML"),
        ("environment.json", "{", "not valid JSON"),
        ("stages/evaluate/results.json", "{}", "expected `models`"),
        ("stages/srpo/metrics.jsonl", '{"step": 1}\n{"loss": 2}\n{"step": 3}\n', "line 2"),
    ],
)
def test_a_broken_file_is_named(new_run: Callable[..., Path], path: str, text: str, said: str) -> None:
    folder = new_run(updates=2)
    (folder / path).write_text(text, "utf-8")
    with pytest.raises(UserError, match=said) as raised:
        load_run(folder)
    assert str(folder / path) in str(raised.value) and "\n" not in str(raised.value)


def test_not_a_run_folder(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match="not a run folder"):
            load_run(folder)
