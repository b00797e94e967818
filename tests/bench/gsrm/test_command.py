"""The comparison of GSRMs: its recipes fit together, and its table says what the kept verdicts say."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taosr_she.base.errors import UserError
from taosr_she.bench.gsrm.command import MARKS, table
from taosr_she.bench.gsrm.results import collect
from taosr_she.bench.gsrm.rows import DEVELOPMENT_SEED, ROWS, SEEDS, SFT, gsrm_recipe, stage_name, tuned_as
from taosr_she.bench.marked import check_marks, marks, write_between
from taosr_she.evaluate.examiners import examiner_metrics
from taosr_she.recipe.plan import plan
from taosr_she.recipe.stages.gsrm import VERDICTS

KEYS = ("query", "label")


def test_every_row_starts_from_the_chosen_sft_and_nothing_is_chosen_on_a_report_seed(tmp_path: Path) -> None:
    chosen: dict[str, list[dict[str, Any]]] = {name: [{"learning_rate": 2e-4}] for name in ROWS if name != SFT}
    recipe = gsrm_recipe(SEEDS[0], {SFT: [{"epochs": 2}], **chosen}, {"epochs": 2}, tmp_path)
    planned = {p.name: p for p in plan(recipe, recipe.load_domain())}
    start = stage_name(SFT, {"epochs": 2})
    for name in chosen:
        assert recipe.stages[stage_name(name, chosen[name][0])].start == start
        assert planned[stage_name(name, chosen[name][0])].inputs[start] == planned[start].fingerprint
    assert len(set(SEEDS)) >= 3 and DEVELOPMENT_SEED not in SEEDS
    assert {name: tuned_as(name) for name in ROWS} == {
        SFT: SFT, "first_error": "first_error", "fapo": "first_error", "srpo": "first_error",
    }  # fmt: skip


def made_up(folder: Path, row: str, seed: int, found: float) -> Path:
    """A finished stage: 60 flawed and 40 clean responses to 50 pairs; a share `found` of the errors is named."""
    rng = np.random.default_rng(seed)  # the same people and the same luck for every row
    people = np.ones((100, 2))
    people[:60, 1] = 0
    luck = rng.random(100)
    gsrm = np.where((luck < found)[:, None], people, 1.0)
    place = folder / row / str(seed)
    place.mkdir(parents=True)
    kept = {"pair_ids": [f"p{n // 2}" for n in range(100)], "people": people.tolist(),
            "examiners": {"gsrm": gsrm.tolist()}}  # fmt: skip
    (place / VERDICTS).write_text(json.dumps(kept))
    (place / "stage.json").write_text(json.dumps({"seconds": 10.0 * seed}))
    return place


def test_the_table_pools_seeds_and_pairs(tmp_path: Path) -> None:
    shares = {SFT: 0.5, "first_error": 0.8}
    folders = {row: {seed: made_up(tmp_path, row, seed, found) for seed in (1, 2, 3)} for row, found in shares.items()}
    rows = collect(folders, KEYS)
    for row, by_seed in folders.items():
        kept = [json.loads((folder / VERDICTS).read_text()) for folder in by_seed.values()]
        f1 = [
            examiner_metrics(KEYS, np.array(k["people"]), np.array(k["examiners"]["gsrm"]))["first_error_f1"]
            for k in kept
        ]
        found = rows[row]["metrics"]["first_error_f1"]
        assert found["mean"] == pytest.approx(np.mean(f1)) and found["values"] == pytest.approx(f1)
        assert found["low"] < found["mean"] < found["high"] and rows[row]["seconds"] == 20.0
    better = rows["first_error"]["against"]
    assert better["low"] > 0 and better["p"] < 0.01 and "against" not in rows[SFT]
    results = {
        "command": "taosr-she bench gsrm", "versions": {"torch": "2"}, "machine": "x, 2 cores", "seeds": [1, 2, 3],
        "resamples": 2000, "development_seed": 9, "chosen": {SFT: {"epochs": 2}},
        "tried": {SFT: [{"settings": {"epochs": 2}, "first_error_f1": 0.5}]}, "rows": rows,
    }  # fmt: skip
    text = table(results)
    assert (
        f"| SFT | {100 * rows[SFT]['metrics']['first_error_f1']['mean']:.1f} [" in text and "SFT epochs 2 50.0" in text
    )
    page = tmp_path / "examination.md"
    with pytest.raises(UserError, match="needs the lines"):
        check_marks(page, MARKS)
    begin, end = marks(MARKS)
    page.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    write_between(page, MARKS, text)
    assert page.read_text() == f"before\n{begin}\n\n{text}\n\n{end}\nafter\n"


def test_other_responses_are_not_pooled(tmp_path: Path) -> None:
    folders = {row: {1: made_up(tmp_path, row, 1, 0.5)} for row in (SFT, "first_error")}
    file = folders["first_error"][1] / VERDICTS
    kept = json.loads(file.read_text())
    kept["people"][0] = [0.0, 1.0]
    file.write_text(json.dumps(kept))
    with pytest.raises(UserError, match="other responses than those of the rows above"):
        collect(folders, KEYS)
