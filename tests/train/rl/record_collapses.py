"""Runs that collapse and runs that do not, recorded for `test_collapse.py` and docs/evaluation.md (half an hour):

    taosr-she run demo
    python tests/train/rl/record_collapses.py runs/demo tests/train/rl/collapses.json

From the demo's SFT start on its training pairs, thinned out so that one label is common; of some, labels are dealt anew
at random. Prints the table of docs/evaluation.md.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from taosr_she.data.read import read_pairs
from taosr_she.domain.annotation import read_annotations
from taosr_she.domain.pair import Pair
from taosr_she.examine.verifier import Verifier
from taosr_she.model.policy import load_policy
from taosr_she.train.rl.collapse import evenness
from taosr_she.train.rl.loop import train_step_credit
from taosr_she.train.rl.settings import StepCreditSettings
from taosr_she.train.state import metrics_rows

MOST, MANY = {"4": 0.7, "3": 0.15, "2": 0.1, "1": 0.05}, {"4": 0.6, "3": 0.2, "2": 0.15, "1": 0.05}
CASES: dict[str, tuple[dict[str, float], float, float, int]] = {
    "market": ({}, 0.0, 1e-4, 40),
    "70% of one label": (MOST, 0.0, 1e-4, 60),
    "70% of one label, 4 times the learning rate": (MOST, 0.0, 4e-4, 60),
    "half of the labels at random, 60% of one": (MANY, 0.5, 2e-4, 60),
    "labels at random, 60% of one": (MANY, 1.0, 2e-4, 60),
}
"""Name -> shares of the labels, share of labels dealt anew, learning rate, updates."""
RULES = {"GRPO": "outcome", "SRPO": "srpo"}


def thinned(pairs: Sequence[Pair], shares: dict[str, float], noise: float, seed: int) -> list[Pair]:
    """As many pairs as the shares allow; of a share of them the labels are shuffled."""
    if not shares:
        return list(pairs)
    rng = Random(seed)
    by_label: dict[str | None, list[Pair]] = {}
    for pair in pairs:
        by_label.setdefault(pair.label, []).append(pair)
    size = int(min(len(by_label[label]) / share for label, share in shares.items()))
    chosen = [p for label, share in shares.items() for p in rng.sample(by_label[label], round(size * share))]
    rng.shuffle(chosen)
    places = [i for i in range(len(chosen)) if noise and rng.random() < noise]
    labels = [chosen[i].label for i in places]
    rng.shuffle(labels)
    for i, label in zip(places, labels, strict=True):
        chosen[i] = replace(chosen[i], label=label)
    return chosen


def trained(run: Path, pairs: Sequence[Pair], rule: str, rate: float, updates: int, seed: int) -> list[dict[str, Any]]:
    """The rows of metrics of a training from the run's SFT start."""
    policy = load_policy(run / "stages/sft/checkpoint", "cpu", "float32")
    assert policy.domain is not None
    domain, labels = policy.domain, {p.pair_id: p.label for p in pairs}
    said = [
        replace(a, conclusion=str(labels[a.pair_id])) if a.step == domain.step_keys[domain.label_step] else a
        for a in read_annotations(run / "stages/data/annotations.jsonl")
        if a.pair_id in labels
    ]
    settings = StepCreditSettings.model_validate(
        {
            "updates": updates, "pairs_per_update": 16, "schedule": "constant", "learning_rate": rate,
            "sampling": {"max_new_tokens": 80}, "credit": {"rule": rule},
        }
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        train_step_credit(policy, domain, pairs, Verifier(domain, said), settings, seed, Path(folder))
        return metrics_rows(Path(folder) / "metrics.jsonl")


def compact(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What `test_collapse.recorded` reads."""
    codes = list(rows[0]["labels_given"])

    def cells(row: dict[str, Any]) -> list[float | None]:
        shares = [round(row[key][code], 3) for key in ("labels_given", "labels_true") for code in codes]
        recalls = [None if (r := row[f"recall_{code}"]) is None else round(r, 2) for code in codes]
        return [round(row["signal_share"], 3), *shares, *recalls]

    warned = [row["step"] for row in rows if row["collapse"]][:1]
    return {"codes": "".join(codes), "warned": warned, "rows": [cells(row) for row in rows]}


def main(run: Path, out: Path, seeds: Sequence[int] = (1, 2)) -> None:
    """Run all cases; the file holds those of the first seed."""
    pairs, kept = read_pairs(run / "stages/data/training.jsonl"), {}
    for name, (shares, noise, rate, updates) in CASES.items():
        for title, rule in RULES.items():
            for seed in seeds:
                rows = trained(run, thinned(pairs, shares, noise, seed), rule, rate, updates, seed)
                lowest = min(e for i in range(5, len(rows) + 1) if (e := evenness(rows[i - 5 : i])) is not None)
                warned = next((row["step"] for row in rows if row["collapse"]), "–")
                print(f"| {name} | {title}, {seed} | {len(rows)} | {lowest:.2f} | {warned} |", flush=True)
                kept.setdefault(f"{name}, {title}", compact(rows))
    out.write_text(json.dumps(kept, separators=(",", ":")), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
