"""On the same rollouts, TRL makes the updates of our own loop: equal advantages, losses, gradients and weights."""

from pathlib import Path
from typing import Any

import pytest

from taosr_she.bench.trl_equal import Given, distance, gaps, given_settings, in_trl, rows_of, train_ours, train_theirs
from taosr_she.train.rl.curriculum import Curriculum, CurriculumStage

TOLD = {"seconds", "seconds_generate", "seconds_examine", "seconds_update", "tokens_per_second"}
CASES: dict[str, dict[str, Any]] = {
    "kl": {},  # also groups without signal, and several micro-batches
    "response": {"loss": {"normalise": "response"}, "sampling": {"max_new_tokens": 96, "temperature": 0.7}},
    "clipped": {
        "epochs_per_batch": 2, "learning_rate": 2e-2, "warmup_updates": 0, "loss": {"clip_high": 0.01, "beta": 0.05},
    },
    "lora": {"rank": 4},
    "balanced": {"balance": True, "credit": {"rule": "outcome", "std": True}, "schedule": "constant"},
    "weighted": {"credit": {"rule": "process", "label_weight": 0.5}, "sampling": {"max_new_tokens": 30}},
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_updates(case: str, given: Given, start: Path, tmp_path: Path) -> None:
    settings = given_settings(**CASES[case])
    train_ours(given, start, settings, tmp_path / "ours")
    with in_trl(given):
        train_theirs(given, start, settings, tmp_path / "theirs")
    found = gaps(tmp_path / "ours", tmp_path / "theirs")
    bound = 1e-5 if case == "clipped" else 1e-6  # TRL computes the old log-probabilities anew
    assert found.pop("grad_norm") < 10 * bound and max(found.values()) < 10 * bound and found["loss"] < bound
    assert distance(start, *(tmp_path / side / "checkpoint" for side in ("ours", "theirs"))) < 1e-3
    ours, theirs = rows_of(tmp_path / "ours"), rows_of(tmp_path / "theirs")
    for a, b in zip(ours, theirs, strict=True):
        assert list(a) == list(b)
        same = [name for name in a if name not in TOLD and not isinstance(a[name], float)]
        assert [a[name] for name in same] == [b[name] for name in same]
        assert a["clip_share"] == pytest.approx(b["clip_share"], abs=0.02)
    assert any(row["loss"] != 0 for row in ours) and any(row["no_signal"] for row in ours)
    assert (max(row["clip_share"] for row in theirs) > 0) == (case == "clipped")


def test_a_curriculum(given: Given, start: Path, tmp_path: Path) -> None:
    """Stages with other pairs and other credit; the second one is stopped by a plateau, before its budget."""
    settings = given_settings()
    stages = [
        CurriculumStage(name="few", updates=2, settings={"credit": {"rule": "outcome"}}),
        CurriculumStage(name="all", updates=5, plateau=9.0, on_plateau="stop", window=1),
    ]
    sides = {"ours": train_ours, "theirs": train_theirs}
    with in_trl(given):
        for side, train in sides.items():
            curriculum = Curriculum(stages, settings, [given.pairs[:3], given.pairs])
            train(given, start, settings, tmp_path / side, curriculum)
    found = gaps(tmp_path / "ours", tmp_path / "theirs")
    assert max(found.values()) < 1e-5 and found["loss"] < 1e-6
    rows = [[(row["stage"], row["stage_ended"]) for row in rows_of(tmp_path / side)] for side in sides]
    assert rows[0] == rows[1] == [("few", None), ("few", "budget"), ("all", None), ("all", "plateau")]
    assert not (tmp_path / "theirs" / "trainer").exists()
