"""Reinforcement learning of an adapter: the start stays, the reference is no copy, and a killed run resumes."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from taosr_she.credit.config import LossConfig
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.response import Response
from taosr_she.examine.verdicts import CODE, Verdicts
from taosr_she.model.lora import LoraConfig
from taosr_she.model.policy import Policy, load_policy, save_policy
from taosr_she.model.sampler import Sampling
from taosr_she.recipe.stages.rl import RLStage
from taosr_she.train.rl import loop
from taosr_she.train.rl.curriculum import CurriculumStage
from taosr_she.train.rl.loop import start_reference, train_step_credit
from taosr_she.train.rl.settings import StepCreditSettings

pytest.importorskip("peft")

BARE = {"prompt": {"instruction": "", "show_labels": False, "show_rules": False, "show_format": False}}
PAIRS = [Pair(f"p{i}", "q1", f"red shoes {i}", Product(title=f"blue shoes {i}"), label="4") for i in range(8)]


class Lengths:
    """Random text belongs to the label step as a whole: right when its length is even."""

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        values = np.full((len(responses), 5), np.nan, dtype=np.float32)
        values[:, 4] = [len(r.text) % 2 == 0 for r in responses]
        return Verdicts(values, np.full(values.shape, CODE["gsrm"], dtype=np.int8))


@pytest.fixture
def bare() -> Domain:
    return load_domain("taobao").with_overrides(BARE)


@pytest.fixture
def start(tiny: Policy, bare: Domain, tmp_path: Path) -> Callable[[], Policy]:
    tiny.domain = bare
    save_policy(tiny, tmp_path / "start")
    return lambda: load_policy(tmp_path / "start", "cpu", "float32")


def settings(**changes: object) -> StepCreditSettings:
    base: dict[str, Any] = {
        "updates": 3, "pairs_per_update": 4, "group_size": 4, "sampling": Sampling(max_new_tokens=12),
        "checkpoint_every": 1, "learning_rate": 1e-2, "warmup_updates": 0, "lora": LoraConfig(rank=4),
        "loss": LossConfig(beta=0.1),
    }  # fmt: skip
    return StepCreditSettings(**base | changes)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_adapter_learns_and_the_start_stays(start: Callable[[], Policy], bare: Domain, tmp_path: Path) -> None:
    policy, folder = start(), tmp_path / "stage"
    before = dict(start().model.named_parameters())
    train_step_credit(policy, bare, PAIRS, Lengths(), settings(), 1, folder)
    for name, weight in policy.model.named_parameters():
        plain = name.replace(".base_layer", "")
        if plain in before:
            assert torch.equal(weight, before[plain]), name
        else:
            assert "lora_A" in name or weight.abs().max() > 0, name
    assert not (folder / "reference").exists()  # no second copy
    kl = [row["kl"] for row in rows(folder)]
    assert abs(kl[0]) < 1e-6 < kl[1] < kl[2]
    assert (folder / "checkpoint" / "adapter_model.safetensors").is_file()
    found = load_policy(folder / "checkpoint", "cpu", "float32")
    ids = torch.tensor([[5, 9, 3, 30]])
    with torch.no_grad():
        torch.testing.assert_close(found.model(ids).logits, policy.model(ids).logits, atol=1e-4, rtol=1e-4)


def test_the_kl_is_that_of_a_copy(start: Callable[[], Policy], bare: Domain, tmp_path: Path, monkeypatch: Any) -> None:
    train_step_credit(start(), bare, PAIRS, Lengths(), settings(), 1, tmp_path / "off")
    monkeypatch.setattr(loop, "start_reference", lambda policy, folder: start())
    train_step_credit(start(), bare, PAIRS, Lengths(), settings(), 1, tmp_path / "copy")
    for off, copy in zip(rows(tmp_path / "off"), rows(tmp_path / "copy"), strict=True):
        assert off["kl"] == pytest.approx(copy["kl"], rel=1e-3, abs=1e-6)
        assert off["loss"] == pytest.approx(copy["loss"], rel=1e-3, abs=1e-5)


def test_a_killed_run_ends_with_the_same_adapter(start: Callable[[], Policy], bare: Domain, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_step_credit(start(), bare, PAIRS, Lengths(), settings(), 1, whole)

    def killed(row: dict[str, Any]) -> None:
        if row["step"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_step_credit(start(), bare, PAIRS, Lengths(), settings(), 1, parts, killed)
    state = torch.load(parts / "state.pt", weights_only=True)
    assert state["update"] == 2 and all(".lora_" in name for name in state["model"])
    train_step_credit(start(), bare, PAIRS, Lengths(), settings(), 1, parts)
    assert (parts / "checkpoint" / "adapter_model.safetensors").read_bytes() == (
        whole / "checkpoint" / "adapter_model.safetensors"
    ).read_bytes()


def test_merged_weights_and_a_policy_without_a_home(tiny: Policy, bare: Domain, tmp_path: Path) -> None:
    lora = LoraConfig(rank=4, targets=("q_proj", "v_proj"), merged=True)
    train_step_credit(tiny, bare, PAIRS, Lengths(), settings(updates=1, lora=lora), 1, tmp_path)
    assert {"base", "checkpoint", "merged"} <= {p.name for p in tmp_path.iterdir()}
    merged, folded = (load_policy(tmp_path / name, "cpu", "float32").model for name in ("merged", "checkpoint"))
    for (name, a), (_, b) in zip(merged.named_parameters(), folded.named_parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6, msg=name)


def test_without_an_adapter_the_reference_is_a_copy(start: Callable[[], Policy], tmp_path: Path) -> None:
    policy = start()
    assert start_reference(policy, tmp_path).model is not policy.model


def test_settings() -> None:
    with pytest.raises(ValidationError, match=r"lora.dropout must be 0"):
        settings(lora=LoraConfig(dropout=0.1))
    with pytest.raises(ValidationError, match="`lora` belongs to the settings of the rl stage"):
        CurriculumStage(name="first", updates=1, settings={"lora": {"rank": 2}})
    stage = RLStage.model_validate({"kind": "rl"})
    assert "lora" not in stage.computed()["settings"]
    with_lora = RLStage.model_validate({"kind": "rl", "settings": {"lora": {"rank": 2}}})
    assert with_lora.computed()["settings"]["lora"]["rank"] == 2
