"""DPO: the loss of the formula, and preferred responses become likelier than rejected ones."""

import json
import logging
import math
from pathlib import Path

import pytest
import torch

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import load_domain
from taosr_she.model.lora import LoraConfig
from taosr_she.model.policy import Policy, load_policy
from taosr_she.model.tiny import TinyConfig, build_tiny
from taosr_she.train.trl.dpo import DPOSettings, train_dpo
from taosr_she.train.trl.preferences import Preference, longer_side

DOMAIN = load_domain("taobao")
TEXT = "[query] category: boots\n[product] category: boots\n[category] same\n[attributes] none\n[label] 4"


def policy() -> Policy:
    tiny = TinyConfig(hidden=32, layers=2, heads=2, kv_heads=1, ffn=64, vocab_size=600)
    return build_tiny([TEXT] * 5, DOMAIN, tiny, 1)


def preferences(n: int = 12) -> list[Preference]:
    """After any prompt label 4 is preferred to label 2, in responses of different lengths."""
    one = policy()
    good, bad = (one.encode_response(text) for text in ("[label] 4", "[category] near\n[label] 2"))
    return [Preference(one.encode_response(f"boots {i}")[:-1], good, bad) for i in range(n)]


def log_likelihood(p: Policy, prompt: list[int], response: list[int]) -> float:
    with torch.no_grad():
        logits = p.model(torch.tensor([prompt + response])).logits[0].double().log_softmax(-1)
    return sum(float(logits[len(prompt) + i - 1, token]) for i, token in enumerate(response))


def margin(p: Policy, preference: Preference) -> float:
    good, bad = (log_likelihood(p, preference.prompt, side) for side in (preference.preferred, preference.rejected))
    return good - bad


def test_second_loss_is_that_of_the_formula(tmp_path: Path) -> None:
    """After one step, over the whole batch: -log sigmoid(beta (margin - margin of the start))."""
    batch, start = preferences(4), policy()
    expected_first = math.log(2)  # nothing has moved yet
    trained = policy()
    settings = DPOSettings(epochs=1, batch_size=4, learning_rate=1e-3, beta=0.3, warmup_share=0)
    seen: list[dict[str, float]] = []
    train_dpo(trained, policy(), batch, settings, 1, tmp_path / "a", seen.append)
    assert seen[0]["loss"] == pytest.approx(expected_first, rel=1e-4)
    gains = [0.3 * (margin(trained, p) - margin(start, p)) for p in batch]
    expected = sum(math.log(1 + math.exp(-g)) for g in gains) / 4
    again: list[dict[str, float]] = []
    train_dpo(trained, start, batch, settings, 1, tmp_path / "b", again.append)
    assert again[0]["loss"] == pytest.approx(expected, rel=1e-3)


def test_it_learns_and_leaves_the_reference_alone(tmp_path: Path) -> None:
    trained, reference = policy(), policy()
    before = {name: w.clone() for name, w in reference.model.state_dict().items()}
    wanted = preferences()
    settings = DPOSettings(epochs=4, batch_size=4, learning_rate=2e-3)
    train_dpo(trained, reference, wanted, settings, 1, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == settings.total_steps(12) and rows[-1]["accuracy"] == 1.0 and rows[-1]["margin"] > 0
    assert all(margin(trained, p) > margin(reference, p) for p in wanted)
    assert all(torch.equal(before[name], w) for name, w in reference.model.state_dict().items())
    assert (tmp_path / "checkpoint" / "config.json").is_file() and not (tmp_path / "trainer").exists()


def test_what_is_too_long_is_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    longest = longer_side(max(preferences(4), key=longer_side))
    one = preferences(1)[0]
    long = Preference(one.prompt * 20, one.preferred, one.rejected)
    settings = DPOSettings(batch_size=4, max_length=longest)
    with caplog.at_level(logging.WARNING):
        train_dpo(policy(), policy(), [*preferences(4), long], settings, 1, tmp_path)
    assert f"DPO preferences: 1 of 5 exceed max_length={longest} " in caplog.text


def test_nothing_that_fits_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none of 12 fits into max_length=3 "):
        train_dpo(policy(), policy(), preferences(), DPOSettings(max_length=3), 1, tmp_path)


def test_an_adapter_learns_and_is_all_that_is_saved(tmp_path: Path) -> None:
    trained, reference, wanted = policy(), policy(), preferences()
    settings = DPOSettings(epochs=4, batch_size=4, learning_rate=1e-2, lora=LoraConfig(rank=4, merged=True))
    train_dpo(trained, reference, wanted, settings, 1, tmp_path)
    adapter = load_policy(str(tmp_path / "checkpoint"), "cpu", "float32")
    assert (tmp_path / "checkpoint" / "adapter_model.safetensors").is_file()
    for one in (adapter, load_policy(str(tmp_path / "merged"), "cpu", "float32")):
        assert all(margin(one, p) > margin(reference, p) for p in wanted)
        assert margin(one, wanted[0]) == pytest.approx(margin(trained, wanted[0]), rel=1e-3)
    for name, weight in reference.model.named_parameters():  # frozen, or its adapter is in the layer's own weights
        same = torch.equal(weight, dict(adapter.model.named_parameters())[name])
        assert same == (weight.dim() == 1 or "embed" in name), name
