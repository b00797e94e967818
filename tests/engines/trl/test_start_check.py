"""The first update must reach whoever samples for TRL."""

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from trl.trainer import grpo_trainer

from taosr_she.base.errors import UserError
from taosr_she.bench.trl_equal import Given, given_settings, in_trl, train_theirs
from taosr_she.engine.lora import adapter_off
from taosr_she.engines.trl import start_check


@pytest.fixture
def sampling_with(monkeypatch: pytest.MonkeyPatch) -> Any:
    """TRL samples with whatever a context manager makes of its model."""
    theirs = grpo_trainer.unwrap_model_for_generation

    def set_to(how: Any) -> None:
        @contextmanager
        def unwrapped(*arguments: Any, **options: Any) -> Iterator[Any]:
            with theirs(*arguments, **options) as model, how(model):
                yield model

        monkeypatch.setattr(grpo_trainer, "unwrap_model_for_generation", unwrapped)

    return set_to


@pytest.mark.parametrize("lora", [None, 4])
def test_it_passes(lora: int | None, given: Given, start: Path, tmp_path: Path) -> None:
    with in_trl(given):
        train_theirs(given, start, given_settings(lora, updates=1), tmp_path / "stage")
    found = json.loads((tmp_path / "stage" / "start_check.json").read_text())
    assert found["tokens"] == 64 and found["moved"] > 1e-4 > 10 * found["apart_after"]


def test_an_adapter_that_is_off_in_the_sampler_stops_the_training(
    given: Given, start: Path, tmp_path: Path, sampling_with: Any
) -> None:
    sampling_with(adapter_off)
    with (
        in_trl(given),
        pytest.raises(UserError, match=r"stage: stopped by the start-up check: the first update has not reached"),
    ):
        train_theirs(given, start, given_settings(4), tmp_path / "stage")
    assert not (tmp_path / "stage" / "checkpoint").exists()


def test_a_sampler_that_is_only_partly_new_stops_the_training(
    given: Given, start: Path, tmp_path: Path, sampling_with: Any
) -> None:
    kept: list[torch.Tensor] = []

    @contextmanager
    def stale(model: Any) -> Iterator[None]:
        """One block keeps its start weights."""
        weights = list(model.model.layers[0].parameters())
        if not kept:
            kept.extend(copy.deepcopy(weights))
        now = [w.detach().clone() for w in weights]
        with torch.no_grad():
            for weight, old in zip(weights, kept, strict=True):
                weight.copy_(old)
            yield
            for weight, new in zip(weights, now, strict=True):
                weight.copy_(new)

    sampling_with(stale)
    with in_trl(given), pytest.raises(UserError, match="the first update leaves sampler and trainer apart"):
        train_theirs(given, start, given_settings(learning_rate=1e-2, warmup_updates=0), tmp_path / "stage")


class Told:
    """A trainer whose log-probabilities are all -1."""

    class accelerator:
        device = torch.device("cpu")

    class _tokenizer:
        pad_token_id = 0

    model = None

    def _get_per_token_logps_and_entropies(self, model: Any, ids: torch.Tensor, *_: Any) -> Any:
        return torch.full((len(ids), start_check.TOKENS), -1.0), None, None


def test_vllm_is_compared_at_every_update() -> None:
    prompts, responses = [[1, 2], [1]], [[3, 4, 5], [3]]
    sampled = torch.tensor([[-1.02, -0.98, -1.0], [-1.0, 9.0, 9.0]])  # beyond a response, anything
    start_check.check_vllm(Told(), prompts, responses, sampled, "srpo")
    sampled[0, 1] = torch.nan  # vLLM could not tell
    start_check.check_vllm(Told(), prompts, responses, sampled, "srpo")
    with pytest.raises(UserError, match=r"^srpo: stopped: vLLM's log-probabilities and the trainer's differ by 0.51"):
        start_check.check_vllm(Told(), prompts, responses, sampled - 0.5, "srpo")
