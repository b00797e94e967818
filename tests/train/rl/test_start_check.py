"""The first update must reach the sampler; whoever samples with other weights is stopped by it."""

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain, load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.response import Response
from taosr_she.engine.decode import SharedPrompts
from taosr_she.engine.lora import adapter_off
from taosr_she.examine.verdicts import CODE, Verdicts
from taosr_she.model import sampler
from taosr_she.model.lora import LoraConfig
from taosr_she.model.policy import Policy
from taosr_she.model.sampler import Sampling
from taosr_she.train.rl import loop
from taosr_she.train.rl.loop import train_step_credit
from taosr_she.train.rl.settings import StepCreditSettings

BARE = {"prompt": {"instruction": "", "show_labels": False, "show_rules": False, "show_format": False}}
PAIRS = [Pair(f"p{i}", "q1", f"red shoes {i}", Product(title=f"blue shoes {i}"), label="4") for i in range(8)]


class Lengths:
    """Right when the length of the text is even; `silent` calls see every step right, so that nothing is learnt."""

    def __init__(self, silent: int = 0) -> None:
        self.silent = silent

    def examine(self, pairs: Sequence[Pair], responses: Sequence[Response]) -> Verdicts:
        values = np.full((len(responses), 5), np.nan, dtype=np.float32)
        values[:, 4] = [self.silent > 0 or len(r.text) % 2 == 0 for r in responses]
        self.silent -= 1
        return Verdicts(values, np.full(values.shape, CODE["gsrm"], dtype=np.int8))


@pytest.fixture
def bare() -> Domain:
    return load_domain("taobao").with_overrides(BARE)


def train(policy: Policy, domain: Domain, folder: Path, examiner: Lengths | None = None, **changes: Any) -> None:
    base: dict[str, Any] = {
        "updates": 2, "pairs_per_update": 4, "group_size": 4, "sampling": Sampling(max_new_tokens=12),
        "learning_rate": 1e-4,
    }  # fmt: skip
    train_step_credit(policy, domain, PAIRS, examiner or Lengths(), StepCreditSettings(**base | changes), 1, folder)


def test_it_changes_no_number_and_draws_none(
    tiny: Policy, bare: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Policy(copy.deepcopy(tiny.model), tiny.tokenizer, tiny.device)
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    train(tiny, bare, tmp_path / "with")
    assert torch.equal(state, torch.random.get_rng_state())
    found = json.loads((tmp_path / "with" / "start_check.json").read_text())
    assert found["tokens"] <= 64 and found["moved"] > 1e-4 > 10 * found["apart_after"]

    class Nothing:
        def __init__(self, folder: Path) -> None: ...

        def before(self, *arguments: Any) -> None: ...

        def after(self, *arguments: Any) -> None: ...

    monkeypatch.setattr(loop, "StartCheck", Nothing)
    train(other, bare, tmp_path / "without")
    for a, b in zip(tiny.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_it_waits_for_an_update_that_learns(tiny: Policy, bare: Domain, tmp_path: Path) -> None:
    train(tiny, bare, tmp_path, Lengths(silent=1))
    assert json.loads((tmp_path / "start_check.json").read_text())["moved"] > 0
    train(tiny, bare, tmp_path / "never", Lengths(silent=9))
    assert not (tmp_path / "never" / "start_check.json").exists()


def decode_with(monkeypatch: pytest.MonkeyPatch, stale: Any) -> None:
    """The sampler decodes with another model from now on."""

    class Stale(SharedPrompts):
        def __init__(self, model: Any, *arguments: Any) -> None:
            super().__init__(stale, *arguments)

    monkeypatch.setattr(sampler, "_decoder", lambda model, steps: Stale)


def test_a_sampler_with_a_stale_copy_is_stopped(
    tiny: Policy, bare: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode_with(monkeypatch, copy.deepcopy(tiny.model))
    with pytest.raises(UserError, match=r"stage: stopped by the start-up check: the first update has not reached"):
        train(tiny, bare, tmp_path / "stage")


def test_a_sampler_without_the_adapter_is_stopped(
    tiny: Policy, bare: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("peft")

    class Bare(SharedPrompts):
        def __init__(self, model: Any, *arguments: Any) -> None:
            with adapter_off(model):
                super().__init__(model, *arguments)

    monkeypatch.setattr(sampler, "_decoder", lambda model, steps: Bare)
    with pytest.raises(UserError, match=r"the first update has not reached the sampler"):
        train(tiny, bare, tmp_path, lora=LoraConfig(rank=4))


def test_a_sampler_that_is_only_partly_new_is_stopped(
    tiny: Policy, bare: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shares all weights but those of one matrix, so that it moves, but not as far."""
    half = copy.deepcopy(tiny.model)
    for name, module in tiny.model.named_modules():
        if name != "model.layers.0.mlp" and not name.startswith("model.layers.0.mlp."):
            for key, weight in list(module._parameters.items()):
                half.get_submodule(name)._parameters[key] = weight
    decode_with(monkeypatch, half)
    with pytest.raises(UserError, match=r"the first update leaves sampler and trainer apart"):
        train(tiny, bare, tmp_path, learning_rate=1e-2, warmup_updates=0)
