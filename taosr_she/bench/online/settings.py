"""What is compared: rules of asking, budgets of answers, seeds. Nothing is chosen on the report seeds."""

from typing import Any

from taosr_she.bench.paper.settings import NARROW

RULES: dict[str, dict[str, float]] = {
    "random": {"random": 1.0},
    "uncertain": {"uncertain": 1.0},
    "disagreement": {"disagreement": 1.0},
    "critical": {"critical": 1.0},
}
"""Rule -> shares of the policies."""
TITLES = {
    "random": "at random", "uncertain": "the GSRM is uncertain", "disagreement": "policy and GSRM disagree",
    "critical": "critical steps",
}  # fmt: skip
BUDGETS = (120, 240, 480)
"""Questions that may be asked in a training: each one doubles the one before."""
PLAIN = "plain"
"""The same training without questions."""
EXACT = "exact"
"""The same training in which every step has the right verdict, to compare the gain of answers with."""
CHOSEN = "uncertain"
"""Our best rule: the best in both metrics on the development seed, with 240 questions."""
SEEDS = (31, 32, 33, 34, 35)
DEVELOPMENT_SEED = 131
METRICS = {"steps_all_right": "all steps right", "first_error_f1": "first-error F1 of the GSRM"}

MARKET: dict[str, Any] = {
    "demonstration_pairs": 6000, "training_pairs": 240, "development_pairs": 400, "test_pairs": 800,
    "annotation_coverage": 0.15, "departments": 8, "zipf": 1.2, "unseen_share": 0.2, "hard": 2.0,
}  # fmt: skip
"""The paper comparison's long tail, with few training pairs: each comes back about three times, as answers can teach
only about what comes back. People have annotated 36 of them before the training."""
SAMPLING = {"max_new_tokens": 80}
DOMAIN = NARROW
SFT: dict[str, Any] = {"epochs": 3, "batch_size": 16, "learning_rate": 3.0e-3}
GSRM: dict[str, Any] = {"epochs": 4, "batch_size": 16, "learning_rate": 3.0e-4}
VOTES = {"votes": 4}
"""With one vote a GSRM that compares conclusions is never uncertain."""
RL: dict[str, Any] = {
    "updates": 100, "pairs_per_update": 8, "group_size": 8, "schedule": "linear", "learning_rate": 1.0e-4,
    "credit": {"rule": "srpo"}, "sampling": SAMPLING, "keep_rollouts_every": 100,
}  # fmt: skip
PEOPLE: dict[str, Any] = {"delay": [2, 6], "at_once": 6}
"""Ada, Ben and Cleo of the market, with their errors and blind spots."""
ONLINE: dict[str, Any] = {"each_update": 8, "open": 64, "max_age": 20, "people": PEOPLE}
"""About two of an update's eight pairs: a rule has something to choose from, and answers come early."""
RESAMPLES = 200
