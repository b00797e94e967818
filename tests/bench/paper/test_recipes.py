"""The recipes of the comparison: what has to be the same for all rows is."""

from pathlib import Path

import pytest

from taosr_she.bench.paper.methods import group
from taosr_she.bench.paper.recipes import paper_recipe, variants
from taosr_she.bench.paper.settings import SETTINGS

ESCI_PAIRS = 1345  # training pairs of the English sample, mean over the report seeds


@pytest.mark.parametrize("name", list(SETTINGS))
def test_every_row_samples_about_as_many_responses(name: str, tmp_path: Path) -> None:
    data = SETTINGS[name].data
    pairs = data["market"]["training_pairs"] if "market" in data else ESCI_PAIRS
    stages = paper_recipe(name, 11, variants(name, group("main")), tmp_path).model_dump()["stages"]
    drawn: dict[str, int] = {}
    for key, stage in stages.items():
        if stage["kind"] == "rl":
            settings = stage["settings"]
            drawn[key] = settings["updates"] * settings["pairs_per_update"] * settings["group_size"]
        elif stage["kind"] in ("rejection", "dpo"):
            drawn[key] = pairs * stage["group_size"]
    assert {"grpo", "srpo", "full", "rejection", "dpo"} <= set(drawn)
    assert max(drawn.values()) <= 1.15 * min(drawn.values()), drawn
