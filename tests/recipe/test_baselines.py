"""Stages beside reinforcement learning with honest examination: SFT on labels, turned verdicts, disturbed pairs."""

import json
from pathlib import Path

import pyarrow.parquet as pq

from taosr_she.data.read import read_pairs


def test_sft_on_labels_learns_the_label_of_every_pair_that_comes_to_one(toy_run: Path) -> None:
    stage = json.loads((toy_run / "stages/labels/stage.json").read_text())
    pairs = read_pairs(toy_run / "stages/data/training.jsonl")
    assert stage["summary"]["examples"] + stage["summary"]["without_label"] == len(pairs)
    losses = [json.loads(line)["loss"] for line in (toy_run / "stages/labels/metrics.jsonl").read_text().splitlines()]
    assert sum(losses[-3:]) < sum(losses[:3])


def test_verdicts_on_reasoning_are_turned_and_those_on_labels_stay(toy_run: Path) -> None:
    by_stage = {}
    for name in ("hybrid", "turned"):
        by_stage[name] = pq.read_table(min((toy_run / f"stages/{name}/rollouts").glob("*.parquet"))).to_pylist()
    rows = list(zip(by_stage["hybrid"], by_stage["turned"], strict=True))
    assert all(a["response"] == b["response"] for a, b in rows)  # the same first samples
    by_people = [
        (k, a["verdicts"][k], b["verdicts"][k])
        for a, b in rows for k in range(5) if a["sources"][k] == b["sources"][k] == "human"
    ]  # fmt: skip
    turned = [a != b for k, a, b in by_people if k < 4]
    assert turned and all(turned)
    assert all(a == b for k, a, b in by_people if k == 4)


def test_robustness_is_in_the_results_and_on_the_page(toy_run: Path) -> None:
    results = json.loads((toy_run / "stages/evaluate/results.json").read_text())
    for model in results["models"].values():
        assert model["robustness"].keys() == {"typos", "word_order", "promotion", "injection"}
        assert all(found["pairs"] == 7 and 0 <= found["changed"] <= 1 for found in model["robustness"].values())
    page = (toy_run / "report.html").read_text()
    assert "macro-F1 of perturbed pairs" in page and "Word order" in page
