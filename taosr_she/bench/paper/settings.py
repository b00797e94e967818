"""Where the methods are compared: data, sizes and seeds. The report seeds are never used for choosing anything."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taosr_she.bench.paper.methods import Group

RL: dict[str, Any] = {
    "updates": 100, "pairs_per_update": 8, "group_size": 8, "schedule": "linear", "learning_rate": 1.0e-4,
}  # fmt: skip
"""Shared by every rl row; the learning rate is tuned for each method. Why many small updates: docs/results.md."""
WATCH_EVERY = 10
NARROW = {
    "prompt": {
        "instruction": "", "show_labels": False, "show_rules": False, "show_format": False,
        "fields": [
            {"name": "title", "heading": "Title"}, {"name": "price", "heading": "Price"},
            {"name": "attributes", "heading": "Attributes"},
        ],
    }
}  # fmt: skip
"""The market's prompt without grades, rules and format: the tiny model learns them from thousands of demonstrations."""
CURRICULUM: list[dict[str, Any]] = [
    {"name": "steps", "updates": 34, "settings": {"credit": {"outcome_weight": 0.5, "allow_step_heavy": True}}},
    {"name": "join", "updates": 33, "pass_low": 0.25, "pass_high": 0.75},
    {"name": "hard", "updates": 33, "pass_high": 0.5, "settings": {"credit": {"step_weight": 0.5}}},
]
"""First learn the steps on all selected pairs, then join them to the label, then train on the pairs that are seldom
right."""


@dataclass(frozen=True)
class Setting:
    """One data set with what all methods on it share."""

    title: str
    what: str
    data: dict[str, Any]
    """The data stage."""
    sft: dict[str, Any]
    """Settings of the SFT stage."""
    seeds: dict[Group, tuple[int, ...]]
    """Report seeds of each group of methods."""
    domain: str = "taobao"
    domain_overrides: dict[str, Any] = field(default_factory=dict)
    tuned_on: str = "long_tail"
    """The setting whose tuned options are used here."""
    held_out_people: bool = True
    """Whether there are annotations to train a GSRM with."""
    max_new_tokens: int = 80
    rl: dict[str, Any] = field(default_factory=dict)
    """Overrides of RL for every method of this setting."""
    drawn: int = 3
    """Responses that rejection sampling and DPO sample for each pair: in total about as many as the rl rows."""
    robustness_pairs: int = 400
    tiny: dict[str, Any] = field(default_factory=dict)
    curriculum: tuple[int, int, int] = (34, 33, 33)
    """Updates of the three stages of CURRICULUM."""
    slices: tuple[str, ...] = ()
    """Slices that have a column of their own."""


def data_file(setting: Setting) -> Path | None:
    """The file that the setting reads; None for the market, which reads none."""
    return Path(setting.data["path"]) if "path" in setting.data else None


MAIN = (11, 12, 13, 14, 15)
THREE = MAIN[:3]
DEVELOPMENT_SEED = 101

SETTINGS: dict[str, Setting] = {
    "long_tail": Setting(
        "Market, long tail",
        "6,000 demonstrations; twice as many hard queries (negation, alternatives, knowledge, need, budget); eight "
        "departments with a heavy tail; a fifth of the test queries use words that never occur in training.",
        data={
            "kind": "market", "probe_share": 0.1,
            "market": {
                "demonstration_pairs": 6000, "training_pairs": 2400, "development_pairs": 400, "test_pairs": 800,
                "annotation_coverage": 0.3, "departments": 8, "zipf": 1.2, "unseen_share": 0.2, "hard": 2.0,
            },
        },
        sft={"epochs": 3, "batch_size": 16, "learning_rate": 3.0e-3},
        seeds={"main": MAIN, "ablation": THREE, "noise": THREE},
        domain_overrides=NARROW,
        slices=("tail", "unseen_words"),
    ),
    "standard": Setting(
        "Market, standard",
        "24,000 demonstrations; four departments; a tenth of the test queries use words that never occur in training.",
        data={
            "kind": "market", "probe_share": 0.1,
            "market": {
                "demonstration_pairs": 24000, "training_pairs": 2400, "development_pairs": 400, "test_pairs": 800,
                "annotation_coverage": 0.3,
            },
        },
        sft={"epochs": 1, "batch_size": 16, "learning_rate": 3.0e-3},
        seeds={"main": MAIN},
        domain_overrides=NARROW,
        slices=("tail", "unseen_words"),
    ),
    "esci": Setting(
        "ESCI sample (real pairs)",
        "The English rows of a sample of Amazon's ESCI. A program writes the reference conclusions of the steps by "
        "comparing words, so the step metrics measure agreement with that program.",
        data={
            "kind": "pairs", "path": "../shared/data/esci-sample/pairs.jsonl.gz", "layout": "esci-sample",
            "where": {"locale": "us"}, "not_scored": {"selection": "exact_only"}, "teacher": "lexical",
        },
        sft={"epochs": 12, "batch_size": 16, "learning_rate": 2.0e-3, "max_length": 512},
        seeds={"main": MAIN},
        domain="esci",
        domain_overrides={
            "prompt": NARROW["prompt"] | {
                "fields": [
                    {"name": "title", "heading": "Title", "max_chars": 160},
                    {"name": "brand", "heading": "Brand", "max_chars": 40},
                ],
            },
        },
        tuned_on="esci",
        held_out_people=False,
        max_new_tokens=160,
        rl={"updates": 40},
        drawn=2,
        robustness_pairs=200,
        tiny={"vocab_size": 4096},
        curriculum=(14, 13, 13),
    ),
}  # fmt: skip
