"""A training by TRL as a stage runs it: files, resumption, and updates that teach nothing."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from taosr_she.base.errors import UserError
from taosr_she.bench.trl_equal import Given, given_settings, in_trl, rows_of, train_theirs
from taosr_she.domain.pair import Pair
from taosr_she.domain.response import Response
from taosr_she.engines.trl.train import train_by_trl
from taosr_she.examine.verdicts import CODE, Verdicts
from taosr_she.model.lora import LoraConfig
from taosr_she.model.policy import load_policy
from taosr_she.recipe.resume import saved_point
from taosr_she.train.rl.collapse import CollapseConfig


class Lengths:
    """Right when the length of the text is even; the calls `silent` see every step right."""

    def __init__(self, *silent: int) -> None:
        self.silent, self.calls = silent, 0

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        self.calls += 1
        values = np.full((len(responses), 5), np.nan, dtype=np.float32)
        values[:, 4] = [self.calls in self.silent or len(r.text) % 2 == 0 for r in responses]
        return Verdicts(values, np.full(values.shape, CODE["gsrm"], dtype=np.int8))


Train = Callable[..., dict[str, Any]]


@pytest.fixture
def train(given: Given, start: Path, tmp_path: Path) -> Train:
    def run(name: str, examiner: Any = None, on_update: Any = lambda row: None, **changes: Any) -> dict[str, Any]:
        policy = load_policy(start, "cpu", "float32")
        policy.domain = given.domain
        settings = given_settings(**{"sampling": {"max_new_tokens": 12}} | changes)
        return train_by_trl(
            policy, given.domain, given.pairs, examiner or Lengths(), settings, 1, tmp_path / name, on_update,
            device="cpu",
        )  # fmt: skip

    return run


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_policy(folder / "checkpoint", "cpu", "float32").model.state_dict()
    return found


def test_a_killed_training_ends_with_the_same_weights(train: Train, tmp_path: Path) -> None:
    summary = train("whole", updates=4, checkpoint_every=2)
    assert summary["updates"] == 4 and summary["tokens"] == rows_of(tmp_path / "whole")[-1]["tokens"]

    def killed(row: dict[str, Any]) -> None:
        if row["step"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train("parts", on_update=killed, updates=4, checkpoint_every=2)
    assert saved_point(tmp_path / "parts") == "after step 2"
    assert train("parts", updates=4, checkpoint_every=2) == summary
    whole, parts = (rows_of(tmp_path / name) for name in ("whole", "parts"))
    assert [row["loss"] for row in whole] == [row["loss"] for row in parts]
    for a, b in zip(weights(tmp_path / "whole").values(), weights(tmp_path / "parts").values(), strict=True):
        assert torch.equal(a, b)
    assert {p.name for p in (tmp_path / "parts").iterdir()} == {
        "checkpoint", "metrics.jsonl", "rollouts", "start_check.json",
    }  # fmt: skip
    # Without the rows of its updates, a checkpoint of TRL is no use.
    with pytest.raises(KeyboardInterrupt):
        train("lost", on_update=killed, updates=4, checkpoint_every=2)
    (tmp_path / "lost" / "metrics.jsonl").write_text("")
    assert train("lost", updates=4, checkpoint_every=2) == summary


def test_an_update_without_signal_changes_nothing(train: Train, tmp_path: Path) -> None:
    """Momentum and weight decay would go on without it."""
    train("two", Lengths(2), updates=3, schedule="constant", warmup_updates=0)
    first, silent, _ = rows_of(tmp_path / "two")
    assert first["grad_norm"] > 0
    assert (silent["signal_share"], silent["loss"], silent["grad_norm"], silent["entropy"]) == (0, 0, 0, None)
    train("one", Lengths(), updates=1, schedule="constant", warmup_updates=0)
    train("also", Lengths(2), updates=2, schedule="constant", warmup_updates=0)
    for a, b in zip(weights(tmp_path / "one").values(), weights(tmp_path / "also").values(), strict=True):
        assert torch.equal(a, b)


def test_an_adapter_is_saved_as_ours(train: Train, tmp_path: Path) -> None:
    train("stage", lora=LoraConfig(rank=4, merged=True), learning_rate=1e-2)
    names = {p.name for p in (tmp_path / "stage" / "checkpoint").iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "base.json", "domain.yaml"} <= names
    merged = load_policy(tmp_path / "stage" / "merged", "cpu", "float32").model.state_dict()
    for name, weight in weights(tmp_path / "stage").items():
        torch.testing.assert_close(weight, merged[name], atol=1e-6, rtol=1e-6)


def test_weights_that_are_only_in_memory(given: Given, tmp_path: Path) -> None:
    policy = given.policy()
    padding = policy.tokenizer.pad_token
    settings = given_settings(updates=1)
    train_by_trl(policy, given.domain, given.pairs, Lengths(), settings, 1, tmp_path, device="cpu")
    assert (tmp_path / "base").is_dir() and policy.tokenizer.pad_token == padding


def test_a_collapse_stops_it_in_one_line(given: Given, start: Path, tmp_path: Path) -> None:
    policy = load_policy(start, "cpu", "float32")
    collapse = CollapseConfig(window=1, min_evenness=0.99, on_collapse="stop")
    with in_trl(given), pytest.raises(UserError, match=r"stage, update \d: stopped, labels collapse"):
        train_by_trl(
            policy, given.domain, given.pairs, given, given_settings(updates=3), 1, tmp_path / "stage",
            collapse=collapse, device="cpu",
        )  # fmt: skip


def test_a_prompt_that_is_too_long_is_told_before_the_work(given: Given, start: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"exceed the model's \d+ positions: lower max_new_tokens"):
        train_theirs(given, start, given_settings(sampling={"max_new_tokens": 5000}), tmp_path)
