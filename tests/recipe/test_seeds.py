"""A recipe over several seeds."""

from typing import Any

import pytest
from rich.console import Console

from taosr_she.recipe.seeds import slices_table, summarise


def results(macro_f1: float, unseen: float | None, chains: float) -> dict[str, Any]:
    """Of one seed: `srpo` is `chains` above `sft` in whole chains, in the slice by twice that."""

    def model(gain: float) -> dict[str, Any]:
        slices: dict[str, Any] = {"head": {"n": 40, "macro_f1": 0.9, "accuracy": 0.9}}
        if unseen is not None:
            slices["unseen"] = {"n": 30, "macro_f1": unseen, "accuracy": 0.5, "steps_all_right": 0.2 + 2 * gain}
        return {"metrics": {"macro_f1": macro_f1, "steps_all_right": 0.4 + gain}, "slices": slices}

    return {
        "step_keys": ["query"], "paired": [{"a": "sft", "b": "srpo", "metric": "macro_f1"}],
        "models": {"sft": model(0.0), "srpo": model(chains)},
    }  # fmt: skip


def test_means_and_paired_differences_are_over_seeds_in_whole_and_in_every_slice() -> None:
    summary = summarise([results(0.5, 0.3, 0.1), results(0.7, 0.5, 0.3)])
    assert summary["models"]["srpo"]["macro_f1"]["mean"] == pytest.approx(0.6)
    gains = {row["metric"]: row["difference"] for row in summary["paired"]}
    assert gains == pytest.approx({"macro_f1": 0.0, "steps_all_right": 0.2})
    unseen = summary["slices"]["unseen"]
    assert unseen["models"]["sft"]["macro_f1"]["values"] == [0.3, 0.5]
    gains = {row["metric"]: row["difference"] for row in unseen["paired"]}
    assert gains == pytest.approx({"macro_f1": 0.0, "accuracy": 0.0, "steps_all_right": 0.4})
    # Two seeds: Student's t is 12.706 with one degree of freedom; differences of 0.2 and 0.6 deviate by 0.2 each.
    whole = next(row for row in unseen["paired"] if row["metric"] == "steps_all_right")
    assert whole["high"] - whole["difference"] == pytest.approx(12.706 * 0.2, rel=1e-4)


def test_a_slice_that_one_run_lacks_is_left_out() -> None:
    assert list(summarise([results(0.5, 0.3, 0.1), results(0.7, None, 0.3)])["slices"]) == ["head"]


def test_the_table_by_slice_shows_chains_only_where_they_were_examined() -> None:
    summary = summarise([results(0.5, 0.3, 0.1), results(0.7, 0.5, 0.3)])
    console = Console(width=120)
    with console.capture() as capture:
        console.print(slices_table(summary, [1, 2]))
    text = capture.get()
    assert "macro-F1, head" in text and "macro-F1, unseen" in text and "all steps right, unseen" in text
    assert "all steps right, head" not in text and "90.0 [90.0, 90.0]" in text
