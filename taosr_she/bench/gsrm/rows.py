"""What is compared: one entry per row of the table, with the settings that are tried on the development seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taosr_she.bench.paper.settings import NARROW, SETTINGS
from taosr_she.recipe.config import Recipe

SFT = "sft"
"""The row that the others start from, and its name in the table."""
POLICY = "policy"
"""The stage of the policy whose responses are examined."""
UPDATES, PAIRS, ROLLOUTS = 60, 16, 8
SAMPLING = {"max_new_tokens": 80}
REPORTED = {"report_group_size": 4, "resamples": 200}  # the table has its own bootstrap
SEEDS = (31, 32, 33)
"""Report seeds: nothing is chosen on them."""
DEVELOPMENT_SEED = 131


@dataclass(frozen=True)
class Row:
    """One way to train a GSRM."""

    title: str
    """Title of its row."""
    what: str
    """One sentence: how it differs from the others."""
    stage: dict[str, Any]
    """Options of its stage besides the settings."""
    grid: tuple[dict[str, Any], ...] = ()
    """Settings tried on the development seed; the best first-error F1 wins, the first of equal ones. Empty: those of
    the first row of its kind that tried some."""


RATES = tuple({"learning_rate": rate} for rate in (1e-4,))
ROWS: dict[str, Row] = {
    SFT: Row(
        "SFT", "Learns the right reasoning of pairs whose every step people annotated; every row below starts here.",
        {"kind": "gsrm"}, tuple({"epochs": epochs} for epochs in (1, 2, 4, 8)),
    ),
    "first_error": Row(
        "RL, first error", "1 for naming the first error that people found, or none; GRPO.",
        {"kind": "gsrm_rl", "reward": "first_error", "credit": {"rule": "outcome"}}, RATES,
    ),
    "fapo": Row(
        "RL, FAPO", "FAPO's reward, which counts the distance to the first error; GRPO.",
        {"kind": "gsrm_rl", "reward": "fapo", "credit": {"rule": "outcome"}},
    ),
    "srpo": Row(
        "RL, credit on steps", "The first error, and credit for each step that agrees with people; SRPO.",
        {"kind": "gsrm_rl", "reward": "first_error", "credit": {"rule": "srpo"}},
    ),
}  # fmt: skip


def tuned_as(row: str) -> str:
    """The row whose settings this one takes: itself, or the first of its kind that tried some."""
    kind = ROWS[row].stage["kind"]
    return row if ROWS[row].grid else next(n for n, other in ROWS.items() if other.grid and other.stage["kind"] == kind)


def stage_name(row: str, settings: Mapping[str, Any]) -> str:
    """The stage of a row with these settings."""
    return "_".join([row, *(f"{key}_{value:g}" for key, value in sorted(settings.items()))]).replace(".", "p")


def gsrm_recipe(seed: int, chosen: Mapping[str, list[dict[str, Any]]], start: dict[str, Any], out: Path) -> Recipe:
    """The recipe of a seed: data, policy, the GSRM that is the start (SFT with the settings `start`), and a stage for
    each row with each of its settings."""
    setting = SETTINGS["long_tail"]
    market = setting.data["market"] | {"test_pairs": 0}
    stages: dict[str, Any] = {
        "data": {"kind": "market", "market": market},
        POLICY: {"kind": "sft", "settings": setting.sft},
    }
    for settings in [start, *chosen.get(SFT, [])]:
        stages[stage_name(SFT, settings)] = {
            "kind": "gsrm", "start": POLICY, "sampling": SAMPLING, **REPORTED,
            "settings": {"batch_size": 16, "learning_rate": 3.0e-4, **settings},
        }  # fmt: skip
    for row, several in chosen.items():
        for settings in several if row != SFT else ():
            credit, options = ROWS[row].stage["credit"], {k: v for k, v in ROWS[row].stage.items() if k != "credit"}
            stages[stage_name(row, settings)] = options | {
                "start": stage_name(SFT, start), "policy": POLICY, "sampling": SAMPLING, **REPORTED,
                "settings": {
                    "updates": UPDATES, "pairs_per_update": PAIRS, "group_size": ROLLOUTS, "sampling": SAMPLING,
                    "credit": credit, "keep_rollouts_every": UPDATES, **settings,
                },
            }  # fmt: skip
    return Recipe.model_validate(
        {
            "name": f"gsrm-{seed}", "seed": seed, "out": str(out / f"seed-{seed}"), "threads": 1,
            "domain": setting.domain, "domain_overrides": NARROW, "stages": stages,
        }
    )  # fmt: skip
