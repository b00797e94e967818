"""Fine-tuning of an adapter: the start stays, and a killed run resumes, dropout and all."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from taosr_she.model.example import answer
from taosr_she.model.lora import LoraConfig
from taosr_she.model.policy import Policy, load_policy
from taosr_she.train.sft.settings import SFTSettings
from taosr_she.train.sft.train import train_sft

pytest.importorskip("peft")

EXAMPLES = [answer([5, 9, 3 + i % 7], [7, 2 + i % 5, 6, 0]) for i in range(24)]


def settings(**changes: object) -> SFTSettings:
    base = {"epochs": 2, "batch_size": 8, "save_every": 2, "lora": LoraConfig(rank=4, alpha=8, dropout=0.2)}
    return SFTSettings.model_validate({**base, "learning_rate": 0.02, **changes})


def test_the_adapter_learns_and_the_start_stays(make_policy: Callable[..., Policy], tmp_path: Path) -> None:
    policy, losses = make_policy("qwen3"), []
    start = {name: weight.clone() for name, weight in policy.model.named_parameters()}
    train_sft(policy, EXAMPLES, settings(epochs=4), 1, tmp_path, lambda row: losses.append(row["loss"]))
    assert losses[-1] < losses[0] / 2
    for name, weight in policy.model.named_parameters():
        if "lora_" not in name:
            assert torch.equal(weight, start[name.replace(".base_layer", "")]), name
    assert {"adapter_config.json", "base.json"} <= {file.name for file in (tmp_path / "checkpoint").iterdir()}
    found = load_policy(tmp_path / "checkpoint", "cpu", "float32").model
    ids = torch.tensor([[5, 9, 3]])
    with torch.no_grad():
        torch.testing.assert_close(found(ids).logits, policy.model.cpu()(ids).logits, atol=1e-4, rtol=1e-4)


def test_a_killed_run_ends_with_the_same_adapter(make_policy: Callable[..., Policy], tmp_path: Path) -> None:
    def killed(row: dict[str, float]) -> None:
        if row["step"] == 5:
            raise KeyboardInterrupt

    train_sft(make_policy("qwen3"), EXAMPLES, settings(), 1, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train_sft(make_policy("qwen3"), EXAMPLES, settings(), 1, tmp_path / "parts", killed)
    state = torch.load(tmp_path / "parts" / "state.pt", weights_only=True)
    assert state["update"] == 4 and all(".lora_" in name for name in state["model"])
    train_sft(make_policy("qwen3"), EXAMPLES, settings(), 1, tmp_path / "parts")
    whole, parts = (tmp_path / name / "checkpoint" / "adapter_model.safetensors" for name in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()


def test_settings() -> None:
    assert "lora" not in SFTSettings().computed() and settings().computed()["lora"]["rank"] == 4
    with pytest.raises(ValidationError, match="lora needs engine: own"):
        settings(engine="trl")
