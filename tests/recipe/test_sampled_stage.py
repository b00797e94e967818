"""Sampling of the stages that train on their start policy's responses."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from toy_models import device, domain, make_policy, small, texts, tiny  # noqa: F401

from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.model import responses, sampler
from taosr_she.model.policy import Policy
from taosr_she.recipe.config import Recipe
from taosr_she.recipe.progress import Progress
from taosr_she.recipe.stages.label_sft import LabelSFTStage

PAIR = Pair("p", "red boots", "red boots", Product("blue tent"), label="1")


@pytest.mark.parametrize("kind", ["dpo", "rejection", "scalar_reward_model"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_responses_are_sampled_in_the_precision_of_the_training(
    kind: str,
    precision: str,
    make_policy: Callable[..., Policy],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    policy = make_policy("llama")
    seen = []

    def sample(*args: Any) -> responses.Sampled:
        seen.append(torch.is_autocast_enabled(policy.device.type))
        return responses.Sampled([], [], [])

    monkeypatch.setattr(responses, "sample_responses", sample)
    stage = Recipe.model_validate(
        {"name": "x", "stages": {"data": {"kind": "market"}, "sft": {"kind": "sft"},
                                 "it": {"kind": kind, "settings": {"precision": precision}}}}
    ).stages["it"]  # fmt: skip
    context: Any = SimpleNamespace(
        name="it", folder=tmp_path, domain=None, recipe=SimpleNamespace(seed=1),
        tell_malformed=lambda reasons, start: None, progress=Progress(Console(quiet=True)),
        data=lambda name: SimpleNamespace(pairs=lambda split: [PAIR]),
    )  # fmt: skip
    stage.sample(context, policy)
    assert seen == [precision == "bfloat16"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_reasoning_for_label_sft_is_written_in_the_precision_of_the_training(
    precision: str,
    tiny: Policy,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    seen = []

    def sample(*args: Any) -> None:
        seen.append(torch.is_autocast_enabled(tiny.device.type))
        raise InterruptedError

    monkeypatch.setattr(sampler, "sample_groups", sample)
    stage = LabelSFTStage.model_validate({"kind": "label_sft", "settings": {"precision": precision}})
    context: Any = SimpleNamespace(
        name="it", domain=load_domain("taobao"), recipe=SimpleNamespace(seed=1), policy=lambda name: tiny,
        data=lambda name: SimpleNamespace(pairs=lambda split: [PAIR]), progress=Progress(Console(quiet=True)),
        folder=tmp_path,
    )  # fmt: skip
    with pytest.raises(InterruptedError):
        stage.run(context)
    assert seen == [precision == "bfloat16"]
