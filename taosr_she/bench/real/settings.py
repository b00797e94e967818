"""The real data sets, and the settings that all rows on them share. They were chosen on the development fold of Chorus
and ESCI, test pairs included, and by the time that training takes: claims are about the other folds."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taosr_she.bench.paper.settings import CURRICULUM

FOLDS = 5
"""Folds by query: every pair is in one test fold."""
DEVELOPMENT_FOLD = 0
"""The fold that settings are chosen on. The tables pool the others; it is shown apart."""
MODEL = "smollm2-135m"
SEED = 11
"""Seed of every recipe. Folds replace seeds: each fold trains on other pairs, in another order."""
NARROW = {
    "prompt": {
        "instruction": "", "show_labels": False, "show_rules": False, "show_format": False, "hide": ["description"],
    }
}  # fmt: skip
"""A short prompt: the model learns grades, rules and format from the demonstrations. Without the description, prompts
have 22% (Chorus) and 31% (ESCI) fewer tokens, and training takes as much less time."""
MATCHING: dict[str, Any] = {"count": 2000}
"""Made-up queries (`data.matching`), without which the model learns the labels by heart (docs/log.md)."""
SFT: dict[str, Any] = {
    "epochs": 1, "batch_size": 8, "accumulate": 2, "learning_rate": 1.0e-4, "max_length": 384, "save_every": 50,
}  # fmt: skip
"""Sixteen examples a step, in two batches because of memory."""
WARM_UP = SFT
"""The same for the label alone, before the steps."""
STUDENT = SFT
"""The same for the student, who starts where reasoning starts, from the label alone."""
RL: dict[str, Any] = {
    "updates": 24, "pairs_per_update": 8, "group_size": 8, "learning_rate": 1.0e-5, "schedule": "linear",
    "balance": True, "outcome_by": "raters",
}  # fmt: skip
"""Balances pairs by label. Without it, GRPO and SRPO both end up giving only the most frequent label (docs/log.md). The
outcome is the share of raters who gave the label, where a pair has raters."""
TEMPERATURE = 1.3
"""Of rollouts in RL. After SFT the policy is so sure that at 1.0 more than half of the groups have no signal. Chosen on
the development fold with `outcome_by`, for all rows alike; it helps SRPO and harms GRPO there (docs/log.md)."""
GSRM: dict[str, Any] = {
    "group_size": 1, "corrupted": 500, "corrupted_demonstrations": 500, "report_group_size": 1, "measured_by": "known",
    "gsrm": {"critique": False, "closed_steps": "read"}, "settings": SFT,
}  # fmt: skip
"""People speak of labels and of few query steps, and a program of a part of the others, so a GSRM can be measured only
by both. It reads the steps in one pass, because of time on two cores."""
PREFERENCES: dict[str, Any] = {"epochs": 1, "batch_size": 16, "learning_rate": 5.0e-6, "max_length": 384}

DECISION: dict[str, Any] = {"rule": "own_prior", "strength": 0.75}
"""Rule for the labels of language models: made-up queries teach the best and the worst grade, so that the others are
hardly ever the most probable one. A rule that each row chooses on the few development queries of a fold is often a bad
one. The strength was chosen on the development fold; that the rule helps had been seen on report folds of ESCI as well
(docs/log.md)."""
CLASSIC_DECISION: dict[str, Any] = {"rule": "auto", "metric": "macro_f1"}
"""The other rows choose among all rules on the development pairs of the fold."""


def curriculum(updates: int) -> list[dict[str, Any]]:
    """The market's curriculum in so many updates, as evenly as they can be divided."""
    legs = len(CURRICULUM)
    return [leg | {"updates": updates * (n + 1) // legs - updates * n // legs} for n, leg in enumerate(CURRICULUM)]


@dataclass(frozen=True)
class RealSetting:
    """One data set with the settings that all rows on it share."""

    title: str
    what: str
    domain: str
    data: dict[str, Any]
    """The data stage, without the fold."""
    demonstrations: dict[str, Any] = field(default_factory=dict)
    """Options of the data stage that differ for the demonstrations of the steps; empty: none."""
    sft: dict[str, Any] = field(default_factory=dict)
    """Options of the stage that learns the steps, beside its settings."""
    max_new_tokens: int = 96
    """Length limit of a response."""
    rl: dict[str, Any] = field(default_factory=dict)
    """Overrides of RL for every row."""

    @property
    def files(self) -> list[Path]:
        """The data files that it reads."""
        typed = self.data.get("typed")
        return [Path(self.data["path"]), *([Path(typed["queries"])] if typed else [])]


TYPED: dict[str, Any] = {
    "kind": "pairs", "together": "near", "teacher": "catalogue",
    "typed": {"queries": "../shared/data/queryner/queries.jsonl.gz", "exercises": 1000},
}  # fmt: skip

DEMONSTRATIONS: dict[str, Any] = {
    "typed": TYPED["typed"] | {"exercises": 300, "guess": "words"}, "matching": MATCHING | {"count": 1200},
}  # fmt: skip
KEEP_THE_LABEL: dict[str, Any] = {"label_weight": 16.0}
"""With `DEMONSTRATIONS`: without both, the label that was learnt first is lost while the steps are (docs/log.md)."""

SETTINGS: dict[str, RealSetting] = {
    "chorus": RealSetting(
        "Chorus (electronics, three raters per pair)",
        "2,818 pairs of 107 queries, each graded 0 to 3 by three people. Query steps come from people (QueryNER's "
        "tags, if there are any), typed attributes from a program. Everything else is unknown.",
        domain="chorus",
        data=TYPED | {"path": "../shared/data/chorus/pairs.jsonl.gz", "layout": "chorus"},
        demonstrations=DEMONSTRATIONS,
        sft=KEEP_THE_LABEL,
    ),
    "esci": RealSetting(
        "ESCI sample (Amazon, English)",
        "The English rows of a sample of Amazon's ESCI, graded E, S, C, I; steps as on Chorus.",
        domain="esci-typed",
        data=TYPED | {
            "path": "../shared/data/esci-sample/pairs.jsonl.gz", "layout": "esci-sample", "where": {"locale": "us"},
            "not_scored": {"selection": "exact_only"},
        },
        demonstrations=DEMONSTRATIONS,
        sft=KEEP_THE_LABEL,
    ),
}  # fmt: skip
